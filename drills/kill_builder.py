"""The build worker killed in every stage of a launch, in an update and in a delete: the work is picked up and ends,
nothing that must not happen twice does, and the callers of the API that is being updated notice nothing."""

from __future__ import annotations

from contextlib import suppress

from drills.apis import DrillApi
from drills.console import Person, state_word
from drills.orderly_end import end_gateway
from drills.report import Report, Scale, until
from drills.testbed import Site, Testbed
from testkit.client import load
from testkit.live_installation import InstallationFailed

LAUNCH = ("build.verify", "build.inspect", "build.self-test", "build.publish", "build.confirm", "build.complete")
UPDATE = ("build.verify", "build.inspect", "build.self-test", "build.publish", "build.take-over", "build.complete")
DELETE = ("reconcile.sent", "reconcile.committed")
SHORT = {LAUNCH: ["build.publish"], UPDATE: ["build.take-over"], DELETE: ["reconcile.sent"]}


def kill_builder(testbed: Testbed, report: Report, scale: Scale) -> None:
    def steps(all_of_them: tuple[str, ...]) -> list[str]:
        return list(all_of_them) if scale.is_long else SHORT[all_of_them]

    with testbed.site("gateway", "worker", "beat", "console") as site, Person(site) as operator:
        with load(site.gateway_url, site.neighbour, pause_s=0.01) as client:
            api = _launch(report, site, operator, steps(LAUNCH))
            _update(report, site, operator, steps(UPDATE))
            _delete(report, site, api, steps(DELETE))
        report.served(client, "a caller during the update")
        unfinished = site.psql("SELECT id, kind FROM apimgmt_build WHERE finished_at IS NULL")
        report.must(not unfinished, f"no build is left unfinished: {unfinished}")
        end_gateway(site, report)
        report.tally(site, site.neighbour, client)
        report.note(f"killed at {', '.join([*steps(LAUNCH), *steps(UPDATE), *steps(DELETE)])}")


def _launch(report: Report, site: Site, operator: Person, steps: list[str]) -> DrillApi:
    """Launch a trial on a model without one; the worker dies at each step in turn."""
    model_id = site.psql(
        "SELECT m.id FROM apimgmt_model m JOIN apimgmt_workspace w ON w.id = m.workspace_id"
        " WHERE w.name = 'Demo trial' AND m.name = 'Breast cancer'"
    )[0][0]
    site.arm(steps[0])
    operator.press(model_id, "launch", type="trial", callers="everybody")
    _die_at_each(report, site, steps)
    report.must(
        until(lambda: state_word(operator.page(model_id)) == "Operating", 60, 0.1), "the launch ends: Operating"
    )
    api_id = site.psql("SELECT id FROM apimgmt_predictionapi WHERE model_id = %s", [model_id])[0][0]
    _once(report, site, api_id, "launch", "operating")
    builds = site.psql("SELECT outcome FROM apimgmt_build WHERE api_id = %s", [api_id])
    report.must(builds == [("succeeded",)], f"one build, which succeeded: {builds}")
    return DrillApi(model_id, "Breast cancer", "trial", api_id, "", {})


def _update(report: Report, site: Site, operator: Person, steps: list[str]) -> None:
    site.arm(steps[0])
    operator.press(site.neighbour, "update", version="2")
    _die_at_each(report, site, steps)
    served = "SELECT status, v.number FROM apimgmt_predictionapi a JOIN apimgmt_modelversion v ON v.id = a.version_id"
    is_done = until(
        lambda: site.psql(f"{served} WHERE a.id = %s", [site.neighbour.id]) == [("operating", 2)],
        60,
        0.1,
    )
    report.must(is_done, "the update ends: version 2 is served")
    _once(report, site, site.neighbour.id, "update")


def _delete(report: Report, site: Site, api: DrillApi, steps: list[str]) -> None:
    """Asked for on the command line, which does not wait, so that the worker confirms it."""
    site.manage("api", "stop", api.id, "--wait")
    site.arm(steps[0])
    site.manage("api", "delete", api.id)
    _die_at_each(report, site, steps)
    row = "SELECT status, key_digest IS NULL AND key_encrypted IS NULL FROM apimgmt_predictionapi WHERE id = %s"
    is_done = until(lambda: site.psql(row, [api.id]) == [("deleted", True)], 60, 0.1)
    report.must(is_done, f"the delete ends, the key is erased: {site.psql(row, [api.id])}")
    _once(report, site, api.id, "delete", "deleted", "stopped")


def _die_at_each(report: Report, site: Site, steps: list[str]) -> None:
    """The worker is killed at the first step, and started again as the supervisor would; then at the next ..."""
    for step, following in zip(steps, [*steps[1:], ""], strict=True):
        died = until(lambda: not site.is_armed(step) and not site.worker.is_running, 60)  # noqa: B023
        report.must(died is not None, f"the worker came by {step}")
        site.disarm(step)
        if following:
            site.arm(following)
        if died is not None:
            with suppress(InstallationFailed):  # it may come by the next step before it is seen to be ready
                site.start("worker")


def _once(report: Report, site: Site, api_id: str, *verbs: str) -> None:
    events = dict(site.psql("SELECT verb, count(*) FROM apimgmt_apievent WHERE api_id = %s GROUP BY verb", [api_id]))
    report.must(all(events.get(verb) == 1 for verb in verbs), f"each of {verbs} happened once: {events}")
