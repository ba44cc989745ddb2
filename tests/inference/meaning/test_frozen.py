"""A version of an earlier release answers and describes itself as before once its meaning is written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from contract.meaning import OPEN_NOTES, Meaning
from contract.model_spec import DEFAULT_FORMAT, ModelSpec
from inference.engines import engine_for
from inference.formats import ApiInfo, find
from inference.predictor import Predictor
from inference.sandbox.trial import Trial
from inference.signature import NotServable
from testkit.graphs import graph, node
from tests.conftest import Load
from tests.inference.client import answer, manual, send
from tests.meant_models import choosing
from tests.model_files import Made, cancer, diabetes, matrix_spec, penguins, probabilities_only, wine, xgboost_cancer

OLD: dict[str, Callable[[], Made]] = {
    "binary matrix": cancer,
    "binary columns": lambda: cancer("columns"),
    "binary zipmap": lambda: cancer(zipmap=True),
    "text labels": penguins,
    "text zipmap": lambda: penguins(zipmap=True),
    "regression": diabetes,
    "numbers from 1": lambda: wine(zipmap=False),
    "numbers from 1, zipmap": lambda: wine(zipmap=True),
    "numbers with names": lambda: wine(zipmap=False, first_label=0, names=("red", "white", "rose")),
    "numbers with names, zipmap": lambda: wine(zipmap=True, first_label=5, names=("red", "white", "rose")),
    "xgboost": xgboost_cancer,
    "probabilities alone": lambda: (matrix_spec(3, task="multiclass", classes=("a", "b", "c")), probabilities_only(3)),
}


def frozen(made: Made, folder: Path) -> Meaning:
    path = folder / "model"
    path.write_bytes(made[1])
    signature = engine_for(DEFAULT_FORMAT).read_signature(path)
    return Trial(path, made[0]).frozen(signature)


def with_meaning(made: Made, meaning: Meaning) -> Made:
    return msgspec.structs.replace(made[0], meaning=meaning), made[1]


def rows_of(spec: ModelSpec, count: int) -> list[dict[str, Any]]:
    """The sample row, and others near it."""
    random = np.random.default_rng(7)
    return [
        {
            name: value * float(random.uniform(0.2, 1.8)) if isinstance(value, float) and index else value
            for name, value in spec.sample.items()
        }
        for index in range(count)
    ]


def answers(predictor: Predictor, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What every format says."""
    names = [column.name for column in predictor.spec.columns]
    table = "\n".join([",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in rows)])
    return {
        "native": answer(predictor, "predict", {"rows": rows}),
        "csv": send(predictor, "predict", table.encode(), "text/csv").body,
        "manual": manual(predictor, table),
        "mlflow": answer(predictor, "invocations", {"dataframe_records": rows}),
        "kserve": answer(predictor, "v1/models/m:predict", {"instances": rows}),
    }


def description(predictor: Predictor) -> list[bytes]:
    info = ApiInfo("a" * 16, "m", "m", "1", "http://x", True, predictor.spec, predictor, "onnx")
    pages = ("openapi.json", "docs", "v2/models/m", "v2/models/m/versions/1")
    found = [find(path) for path in pages]
    return [endpoint.page.make(info).body for endpoint in found if endpoint is not None and endpoint.page is not None]


@pytest.mark.parametrize("kind", OLD)
def test_answers_and_description_stay_as_they_were(kind: str, load: Load, tmp_path: Path) -> None:
    made = OLD[kind]()
    meaning = frozen(made, tmp_path)
    before, after = load(made), load(with_meaning(made, meaning))

    for count in (1, 2, 9):
        rows = rows_of(made[0], count)
        assert answers(after, rows) == answers(before, rows)
    assert len(description(before)) >= 3
    assert description(after) == description(before)
    assert not meaning.is_row_wise
    assert meaning.notes[0].code == "frozen"


@pytest.mark.parametrize("kind", ["binary matrix", "text labels", "regression", "numbers from 1", "text zipmap"])
def test_what_a_registration_would_accept_today_is_certain(kind: str, tmp_path: Path) -> None:
    assert [note for note in frozen(OLD[kind](), tmp_path).notes if note.code in OPEN_NOTES] == []


def test_a_class_that_depended_on_the_batch_goes_by_its_label(load: Load, tmp_path: Path) -> None:
    """Labels 1 and 2, called "0" and "1": one row with a 2 made all of its batch go by the highest number."""
    made = choosing([1, 2], names=["0", "1"], width=2)
    old = msgspec.structs.replace(made[0], meaning=None), made[1]

    meaning = frozen(old, tmp_path)

    assert "frozen_by_label" in {note.code for note in meaning.notes}
    predictor = load(with_meaning(old, meaning))
    names = [column.name for column in old[0].columns]
    rows = [dict(zip(names, [pick, 0.7, 0.3], strict=True)) for pick in (0.0, 1.0)]
    together = [one["class"] for one in answer(predictor, "predict", {"rows": rows})["predictions"]]
    alone = [answer(predictor, "predict", {"rows": [row]})["predictions"][0]["class"] for row in rows]
    assert together == alone


def outnumbered() -> Made:
    """Labels 0, 1 and 2 for two classes: nothing tells the order of the probabilities."""
    made = choosing([0, 1, 2], names=["0", "1", "2"], width=2)
    spec = msgspec.structs.replace(made[0], meaning=None, task="binary", classes=("0", "1"))
    return spec, made[1]


def test_where_nothing_tells_the_order_a_row_is_read_as_it_was_alone(load: Load, tmp_path: Path) -> None:
    old = outnumbered()
    before, after = load(old), load(with_meaning(old, frozen(old, tmp_path)))
    names = [column.name for column in old[0].columns]

    for pick, numbers in ((0.0, [0.1, 0.9]), (1.0, [0.9, 0.1])):
        body = {"rows": [dict(zip(names, [pick, *numbers], strict=True))]}
        assert answer(after, "predict", body) == answer(before, "predict", body)


def test_names_that_were_given_by_position_are_certain(tmp_path: Path) -> None:
    for kind in ("numbers with names", "binary columns"):
        assert [note.code for note in frozen(OLD[kind](), tmp_path).notes if note.code in OPEN_NOTES] == [], kind


def test_what_an_earlier_release_may_have_guessed_is_asked(tmp_path: Path) -> None:
    """One number a row, always between 0 and 1: a value, or the probability of a class."""
    spec = matrix_spec(1, task="regression")
    shape = [None, 1]
    content = graph([("X", "float", shape)], [("y", "float", shape)], [node("Sigmoid", ["X"], ["y"])])

    meaning = frozen((spec, content), tmp_path)

    assert meaning.targets == (spec.target,)
    assert [note.params["code"] for note in meaning.notes if note.code == "open_question"] == ["between_0_and_1"]


def test_it_is_fit_for_the_database(tmp_path: Path) -> None:
    for kind in ("binary matrix", "regression", "text zipmap"):
        meaning = frozen(OLD[kind](), tmp_path)
        assert msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(meaning))), Meaning) == meaning


def test_what_could_not_be_served_is_refused(tmp_path: Path) -> None:
    spec, content = OLD["regression"]()
    contradicting = msgspec.structs.replace(spec, task="binary", classes=("a", "b", "c"))

    with pytest.raises(NotServable):
        frozen((contradicting, content), tmp_path)
