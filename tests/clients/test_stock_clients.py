"""Each stock client sends as it does and understands what it gets, for each demo model."""

from __future__ import annotations

import pytest

from tests.clients.conftest import RunScript
from tests.live.conftest import LiveApi
from tests.live.test_life import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]  # the first one makes the clients' environment


def expected(api: LiveApi) -> tuple[str, dict[str, list[float]] | list[float]]:
    """The native answer to the sample row: its label, or "" for a regression, and its numbers."""
    (prediction,) = api.call().json()["predictions"]
    return prediction.get("class", ""), list(prediction.get("probabilities", {"": prediction.get("value")}).values())


def test_tritonclient(api: LiveApi, run_script: RunScript) -> None:
    label, numbers = expected(api)

    found = run_script("triton", api)

    assert (found["live"], found["ready"], found["model ready"]) == (True, True, True)
    assert found["server"]["extensions"] == ["binary_tensor_data"]
    assert [one["name"] for one in found["metadata"]["inputs"]] == list(api.sample)
    ways = ["json", "binary", "gzip", "deflate", "compressed json", "answers compressed", "version"]
    ways += ["reused, gzip", "reused, plain"]
    for way in ways:
        assert found[way].get("label", ["", ""]) == [label, label], way
        assert found[way]["probabilities" if label else "value"] == pytest.approx(numbers * 2, rel=1e-6), way
    assert len(found["one output"]) == 1
    assert found["id"] == "a-7"
    assert "No model is called nobody" in found["wrong name"][1]
    assert "Version 99 is not served" in found["wrong version"][1]
    assert "invalid_key" in found["wrong key"][1]
    # metadata and readiness are not counted; the native call, nine ways, one output, one id; three refusals
    wanted = {"200": 12, "4xx": 3, "5xx": 0}
    assert until(lambda: api.status()["requests"] == wanted), api.status()


def test_kserve(api: LiveApi, run_script: RunScript) -> None:
    label, numbers = expected(api)

    found = run_script("kserve_rest", api)

    assert all(found[name] is True for name in ("v1 live", "v1 ready", "v2 live", "v2 server ready", "v2 ready"))
    answer = label or pytest.approx(numbers[0], rel=1e-6)
    assert found["v1"]["predictions"] == [answer, answer]
    assert list(found["explain"]["explanations"][0]["contributions"]) == list(api.sample)
    for way in ("v2", "v2 binary"):
        assert found[way]["probabilities" if label else "value"] == pytest.approx(numbers, rel=1e-6)
        assert found[way].get("label", [""]) == [label]
    assert "invalid_rows" in found["v1 wrong"]
    assert "No model is called nobody" in found["v2 wrong name"]


def test_mlflow(api: LiveApi, run_script: RunScript) -> None:
    label, numbers = expected(api)

    found = run_script("mlflow_scoring", api)

    answer = label or pytest.approx(numbers[0], rel=1e-6)
    for way in ("split", "records", "pandas split", "inputs", "instances", "by column", "with params", "csv"):
        assert found[way] == [answer, answer], way
    if api.stem == "penguins":
        assert len(found["with NaN"]) == 2
    else:
        assert found["with NaN"][0] == 422
    assert found["two at once"][0] == 400
    assert found["two at once"][1]["error_code"] == "BAD_REQUEST"
    assert found["other type"][0] == 415
    assert (found["ping"], found["health"]) == (200, "\n")
    assert found["version"]


def test_the_manual_s_python_call(api: LiveApi, run_script: RunScript) -> None:
    label, numbers = expected(api)

    found = run_script("manual", api)

    valid, columns = found["prediction_valid.csv"], found["prediction_valid.csv columns"]
    assert (found["status"], found["version"]) == (200, "1")
    assert columns[0] == "Row number"
    assert columns[-len(api.sample) :] == list(api.sample)
    n_lead = len(columns) - len(api.sample) - len(numbers)
    assert list(valid.values())[n_lead : n_lead + len(numbers)] == pytest.approx(numbers, abs=1e-5, rel=1e-6)
    assert not label or valid[columns[1]] == label
    reasons = found["prediction_analysis.csv columns"][-6:]
    assert [name.split()[0] for name in reasons] == ["Increase"] * 3 + ["Decrease"] * 3
    assert found["native"]["prediction"] == (label or pytest.approx(numbers[0]))
    assert found["csv dialect"].startswith("charset=utf-8; separator=comma")
    status, refusal = found["wrong"]
    assert (status, refusal["error_code"], refusal["message"]) == (400, "4001030104", "Invalid request")
    assert (found["denied"][0], found["denied"][1]["error_code"]) == (401, "4031030201")


def test_missing_values(api: LiveApi, run_script: RunScript) -> None:
    """One number and one text are missing: predicted where the model can do without, else refused, by all the same."""
    found = run_script("missing", api)

    if api.stem != "penguins":
        assert {way: int(answer[0]) for way, answer in found.items()} == dict.fromkeys(found, 422)
        return
    numbers = found.pop("json")
    assert len(numbers) == 3
    labels = {way: found.pop(way) for way in ("mlflow", "mlflow csv", "kserve v1")}
    assert set(map(str, labels.values())) == {"['Adelie']"}
    for way, answer in found.items():
        assert answer == pytest.approx(numbers, abs=1e-6), way
