"""The Create API tab as parts that are rendered apart, so that a poll sends only the ones that changed.

A part's token is the digest of its HTML. The poller carries the tokens of what the browser shows; if they are all
still right the answer is 204. So a page is out of date by at most one poll, whatever it was that changed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.http import HttpRequest
from django.template import loader
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from apimgmt.actors import Actor, actor_of
from apimgmt.calling import examples
from apimgmt.calling.addresses import api_url, docs_url, openapi_url
from apimgmt.lifecycle import selectors, transitions
from apimgmt.lifecycle.actions import Action, actions_for
from apimgmt.lifecycle.builds import is_waiting_for_a_worker
from apimgmt.lifecycle.confirmation import Confirmation, GatewaySummary, confirmation, gateway_summary
from apimgmt.lifecycle.options import OptionUse, launch_choices, option_use
from apimgmt.lifecycle.reports import dismissed_sentence, receipt_sentence, unconfirmed_sentence, workers_sentence
from apimgmt.lifecycle.stages import STAGES
from apimgmt.models import Build, BuildKind, GatewayIncident, Model, Outcome, PredictionAPI, Receipt, Status
from apimgmt.roles import DISMISS_WORKER, HOLDERS, OPERATE, UNLOCK, VIEW_KEY
from apimgmt.sentences import facts
from apimgmt.stats import charts, counts
from apimgmt.stats.counts import DayTotals
from apimgmt.views.key_grants import granted_key
from apimgmt.views.labels import (
    CALLERS_GET,
    STATUS_TONES,
    WHAT_TO_DO,
    change_word,
)
from contract.model_spec import ModelSpec, spec_from_json

RANGES = (7, 30, 90)
DEFAULT_RANGE = 30
SHOWN_CHIPS = 6
MASKED_KEY = "pak_" + "•" * 20

URL_NAMES = (
    "launch",
    "lock",
    "start",
    "stop",
    "delete",
    "cancel",
    "whitelist",
    "description",
    "key",
    "roll",
    "update",
    "upgrade",
    "send-row",
)

POLL_PASSING_MS = 500
POLL_SETTLED_MS = 4000  # a gateway writes its counts out each second: a call is in the graph within 5 s
TOKEN_LENGTH = 8


@dataclass(frozen=True)
class StageLine:
    """One build stage as the page lists it."""

    label: str
    state: str
    seconds: float | None
    detail: str


class ApiPage:
    """Everything the Create API tab of one model shows to one person, read when asked for and at most once."""

    def __init__(self, request: HttpRequest, model: Model, *, days: int = DEFAULT_RANGE) -> None:
        self.request = request
        self.model = model
        self.days = days if days in RANGES else DEFAULT_RANGE
        self.actor: Actor = actor_of(request)
        self.api: PredictionAPI | None = selectors.current_api(model)

    # ── what is served ─────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def actions(self) -> dict[str, Action]:
        if self.api is None:
            return {}
        found = actions_for(self.api, self.actor)
        return {verb.replace("-", "_"): action for verb, action in found.items()}

    @cached_property
    def confirmation(self) -> Confirmation:
        assert self.api is not None  # noqa: S101 (parts that ask are rendered only with an API)
        return confirmation(self.api)

    @cached_property
    def build(self) -> Build | None:
        return selectors.latest_build(self.api) if self.api else None

    @cached_property
    def receipt(self) -> Receipt | None:
        return selectors.latest_receipt(self.api) if self.api else None

    @cached_property
    def incidents(self) -> list[GatewayIncident]:
        return selectors.incidents(self.api) if self.api else []

    @cached_property
    def spec(self) -> ModelSpec | None:
        return spec_from_json(self.api.version.spec) if self.api else None

    @property
    def api_url(self) -> str:
        return api_url(self.api) if self.api else ""

    @property
    def docs_url(self) -> str:
        return docs_url(self.api) if self.api else ""

    @property
    def openapi_url(self) -> str:
        return openapi_url(self.api) if self.api else ""

    @cached_property
    def newest_version(self) -> int:
        return selectors.newest_version_number(self.model)

    @property
    def has_newer_version(self) -> bool:
        return self.api is not None and self.newest_version > self.api.version.number

    @cached_property
    def urls(self) -> dict[str, str]:
        """The address of each deed; the template names them by one word."""
        return {name.replace("-", "_"): reverse(f"api-{name}", args=[self.model.pk]) for name in URL_NAMES}

    # ── before a launch ────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def option_use(self) -> OptionUse:
        return option_use(self.model.workspace)

    @property
    def may_launch(self) -> bool:
        return self.actor.may(OPERATE)

    @cached_property
    def launch_refusal(self) -> str:
        if not self.may_launch:
            return str(HOLDERS[OPERATE])
        if not self.newest_version:
            return _("The model has no version to serve.")
        choices = launch_choices(self.model)
        if any(choice.is_available for choice in choices):
            return ""
        return " ".join(choice.reason for choice in choices)

    # ── status in words ────────────────────────────────────────────────────────────────────────────────────

    @property
    def status_label(self) -> str:
        return self.api.get_status_display() if self.api else ""

    @property
    def status_tone(self) -> str:
        return STATUS_TONES[self.api.status] if self.api else "grey"

    @property
    def is_stopping(self) -> bool:
        return self.api is not None and transitions.is_stopping(self.api)

    @property
    def is_being_built(self) -> bool:
        return self.build is not None and self.build.finished_at is None and not self.is_stopping

    @property
    def passing(self) -> str:
        """The change that is under way, with its progress: "Stopping… 3 of 4 workers"; else ""."""
        if self.api is None or not (self.is_stopping or self.api.status == Status.DELETING):
            return ""
        word = _("Stopping…") if self.is_stopping else _("Deleting…")
        return f"{word} {workers_sentence(self.confirmation)}"

    @property
    def shows_start(self) -> bool:
        """Whether the place of Stop is taken by Start."""
        return self.api is not None and self.api.status in {Status.STOPPED, Status.FAILED, Status.DELETING}

    @property
    def out_of_reach(self) -> int:
        """How many of the missing workers are silent."""
        return sum(worker.is_out_of_reach for worker in self.confirmation.missing)

    @property
    def dismissed(self) -> list[str]:
        """What is to be said of workers that were dismissed and may still answer."""
        return [dismissed_sentence(worker) for worker in self.confirmation.dismissed] if self.api else []

    @property
    def callers_get(self) -> str:
        if self.api is None:
            return ""
        if self.is_stopping:
            return _("Workers that have confirmed answer 503 api_stopped.")
        return str(CALLERS_GET.get(self.api.status, ""))

    @property
    def is_unconfirmed(self) -> bool:
        """Whether an open question about gateways is to be told: not while a build's own stages tell it."""
        return self.api is not None and not self.is_being_built and not self.confirmation.is_confirmed

    @property
    def confirmed_sentence(self) -> str:
        if self.is_unconfirmed:
            return unconfirmed_sentence(self.confirmation)
        if self.receipt is None:
            return ""
        return receipt_sentence(self.receipt, self.confirmation.dismissed)

    @property
    def receipt_word(self) -> str:
        return change_word(self.receipt.verb) if self.receipt else ""

    @property
    def is_waiting_for_worker(self) -> bool:
        return self.build is not None and self.is_being_built and is_waiting_for_a_worker(self.build)

    @property
    def stages(self) -> list[StageLine]:
        if self.build is None:
            return []
        return [
            StageLine(
                str(STAGES.get(stage["name"], stage["name"])), stage["state"], stage["seconds"], facts(stage["detail"])
            )
            for stage in self.build.stages
        ]

    @property
    def build_seconds(self) -> float | None:
        if self.build is None or self.build.finished_at is None:
            return None
        return (self.build.finished_at - self.build.requested_at).total_seconds()

    @property
    def is_update(self) -> bool:
        return self.build is not None and self.build.kind == BuildKind.UPDATE

    @property
    def has_failed_build(self) -> bool:
        """The last build failed and nothing was changed since that would make it old news."""
        return (
            self.build is not None
            and self.build.outcome == Outcome.FAILED
            and (self.api is not None and (self.api.status == Status.FAILED or self.is_update))
        )

    @property
    def failed_stage(self) -> str:
        return str(STAGES.get(self.build.failed_stage, self.build.failed_stage)) if self.build else ""

    @property
    def what_to_do(self) -> str:
        if self.build is None:
            return ""
        if self.is_update and self.build.failed_stage in {"publish", "confirm"}:
            return _("See to the gateway named above, then serve the version again.")
        return str(WHAT_TO_DO.get(self.build.failed_stage, ""))

    @property
    def may_dismiss(self) -> bool:
        return self.actor.may(DISMISS_WORKER)

    @property
    def unlock_hint(self) -> str:
        return "" if self.actor.may(UNLOCK) else str(HOLDERS[UNLOCK])

    # ── quota, whitelist, key, counts ──────────────────────────────────────────────────────────────────────

    @cached_property
    def quota_remaining(self) -> int | None:
        return counts.quota_remaining(self.api) if self.api else None

    @cached_property
    def quota_limit(self) -> int:
        return counts.quota_limit(self.api) if self.api else 0

    @property
    def is_trial(self) -> bool:
        return self.quota_remaining is not None

    @cached_property
    def n_networks(self) -> int:
        return self.api.whitelist.count() if self.api else 0

    @cached_property
    def shown_networks(self) -> list[str]:
        """The first few: a whitelist may have ten thousand, and the page is read twice a second."""
        return list(self.api.whitelist.values_list("network", flat=True)[:SHOWN_CHIPS]) if self.api else []

    @property
    def more_networks(self) -> int:
        return self.n_networks - len(self.shown_networks)

    @cached_property
    def allows_everybody(self) -> bool:
        return self.api is not None and self.api.whitelist.filter(network="0.0.0.0/0").exists()

    @property
    def is_serving(self) -> bool:
        return self.api is not None and self.api.status in {Status.OPERATING, Status.UPDATING} and not self.is_stopping

    @cached_property
    def key(self) -> str | None:
        """The key in full while this browser may show it."""
        if self.api is None or not self.actor.may(VIEW_KEY):
            return None
        return granted_key(self.request, self.api)

    @property
    def masked_key(self) -> str:
        return MASKED_KEY

    @property
    def curl(self) -> str:
        return examples.curl_json(self.api_url, self.spec, self.key) if self.spec else ""

    @cached_property
    def counts(self) -> list[DayTotals]:
        """The days of the chosen range; today is always the last."""
        return counts.daily_counts(self.api, self.days) if self.api else []

    @property
    def today(self) -> DayTotals | None:
        return self.counts[-1] if self.counts else None

    @property
    def range_totals(self) -> dict[str, int]:
        sums = {
            "ok": sum(day.count_200 for day in self.counts),
            "client": sum(day.count_4xx for day in self.counts),
            "server": sum(day.count_5xx for day in self.counts),
        }
        sums["errors"] = sums["client"] + sums["server"]
        return {**sums, "all": sums["ok"] + sums["errors"]}

    @property
    def figure(self) -> dict[str, Any]:
        return charts.request_count_figure(self.counts)

    @property
    def newest_first(self) -> list[DayTotals]:
        return self.counts[::-1]

    @property
    def time_zone(self) -> str:
        return timezone.get_current_timezone_name()

    @cached_property
    def gateways(self) -> GatewaySummary:
        return gateway_summary()

    # ── for those who listen ───────────────────────────────────────────────────────────────────────────────

    @property
    def announcement(self) -> str:
        """One short sentence that changes with the stage, for the live region."""
        if self.api is None:
            return _("No API.")
        if self.passing:
            return _("Stopping.") if self.is_stopping else _("Deleting.")
        if self.is_being_built:
            running = next((stage.label for stage in self.stages if stage.state == "running"), "")
            return f"{self.status_label}: {running}" if running else self.status_label
        if self.has_failed_build:
            return _("Failed at stage %(stage)s.") % {"stage": self.failed_stage}
        return self.status_label

    @property
    def poll_ms(self) -> int:
        is_passing = self.api is not None and (self.is_being_built or bool(self.passing) or self.is_unconfirmed)
        return POLL_PASSING_MS if is_passing else POLL_SETTLED_MS


# In the order of the page; each is `apimgmt/partials/_api_<name>.html`, in an element `#api-<name>`.
PARTS = ("head", "banner", "before", "status", "information", "requests", "announcement", "gateways")


@dataclass(frozen=True)
class Part:
    """One rendered part."""

    name: str
    html: SafeString
    token: str


def render_parts(page: ApiPage) -> dict[str, Part]:
    """All parts in the order of the page."""
    return {name: _render_part(page, name) for name in PARTS}


def _render_part(page: ApiPage, name: str) -> Part:
    html = loader.render_to_string(
        f"apimgmt/partials/_api_{name}.html", {"page": page, "api": page.api, "gateways": page.gateways}
    ).strip()
    digest = hashlib.blake2b(html.encode(), digest_size=TOKEN_LENGTH // 2).hexdigest()
    return Part(name, SafeString(html), digest)


def tokens(parts: dict[str, Part]) -> str:
    """What the poller sends back to say which parts the browser has."""
    return "".join(part.token for part in parts.values())


def changed_parts(parts: dict[str, Part], have: str) -> list[Part]:
    """The parts that differ from the ones with the tokens `have`; all of them for any other text."""
    known = [have[start : start + TOKEN_LENGTH] for start in range(0, len(have), TOKEN_LENGTH)]
    if len(known) != len(parts):
        return list(parts.values())
    return [part for part, token in zip(parts.values(), known, strict=True) if part.token != token]
