"""Whatever the labels, their names, their order and the batch: the answer is the model's own label, in every format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.meaning import Label
from inference.predictor import Predictor
from tests.conftest import Load
from tests.inference.client import answer, manual, send
from tests.meant_models import choosing, zipmap
from tests.model_files import Made

# Without NUL, which no CSV may have, and surrogates, which no text has.
_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=8)
_ODD = st.sampled_from(
    ["a,b", '"', 'say "x"', "line\nbreak", "\r\n", "🙂", "0", "-1", "true", " x ", "%s", "100%", "{}", "名前"]
)
_NAMES = st.one_of(_TEXT, _ODD, st.integers(-50, 50).map(str))
_INT_LABELS = st.lists(st.integers(-(2**40), 2**40) | st.integers(-3, 40), min_size=2, max_size=40, unique=True)
_TEXT_LABELS = st.lists(_NAMES, min_size=2, max_size=40, unique=True)


@st.composite
def models(draw: st.DrawFn) -> tuple[Made, list[str]]:
    """A classifier, and the name of the label that each `pick` chooses."""
    labels: Sequence[Label] = draw(st.one_of(_INT_LABELS, _TEXT_LABELS, st.permutations([False, True])))
    n_classes = len(labels)
    order = draw(st.permutations(labels))
    names = draw(st.lists(_NAMES, min_size=n_classes, max_size=n_classes, unique=True))
    shape = draw(st.sampled_from(["probabilities", "scores", "one score", "alone", "maps"]))
    name_of = {(type(label), label): name for label, name in zip(order, names, strict=True)}
    if shape == "maps" and not isinstance(labels[0], bool):
        return zipmap(labels, [name_of[type(label), label] for label in labels]), [  # type: ignore[arg-type]
            name_of[type(label), label] for label in labels
        ]
    width = {"alone": 0, "one score": 1}.get(shape, n_classes)
    role = "scores" if "score" in shape else "probabilities"
    made = choosing(labels, order=order, names=names, width=width, role=role)
    return made, [name_of[type(label), label] for label in labels]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(model=models(), data=st.data())
def test_the_answer_is_the_models_own_label_by_name(
    load: Load, model: tuple[Made, list[str]], data: st.DataObject
) -> None:
    made, names = model
    predictor = load(made)
    width = len(made[0].columns)
    picks = data.draw(st.lists(st.integers(0, len(names) - 1), min_size=1, max_size=12))
    numbers = data.draw(st.lists(st.floats(0, 1, width=16), min_size=width - 1, max_size=width - 1))
    rows = [[float(pick), *numbers] for pick in picks]
    cut = data.draw(st.integers(0, len(rows)))
    expected = [names[pick] for pick in picks]

    for ask in (by_json, by_csv, by_manual, by_open_inference, by_binary_tensors, by_kserve, by_mlflow):
        batches = [rows, *[batch for batch in (rows[:cut], rows[cut:]) if batch]]
        answered = [ask(predictor, batch) for batch in batches]
        assert answered[0] == [name for batch in answered[1:] for name in batch] == expected, ask.__name__
    assert [by_json(predictor, [row])[0] for row in rows] == expected


def _rows(predictor: Predictor, rows: list[list[float]]) -> list[dict[str, float]]:
    return [dict(zip([column.name for column in predictor.spec.columns], row, strict=True)) for row in rows]


def _csv(predictor: Predictor, rows: list[list[float]]) -> str:
    lines = [[column.name for column in predictor.spec.columns], *rows]
    return "\n".join(",".join(map(str, line)) for line in lines)


def _tensor(predictor: Predictor, rows: list[list[float]]) -> dict[str, Any]:
    shape = [len(rows), len(predictor.spec.columns)]
    return {"name": "X", "datatype": "FP32", "shape": shape, "data": [cell for row in rows for cell in row]}


def by_json(predictor: Predictor, rows: list[list[float]]) -> list[str]:
    return [one["class"] for one in answer(predictor, "predict", {"rows": _rows(predictor, rows)})["predictions"]]


def by_csv(predictor: Predictor, rows: list[list[float]]) -> list[str]:
    text = send(predictor, "predict", _csv(predictor, rows).encode(), "text/csv").body.decode()
    return [record[0] for record in csv.reader(io.StringIO(text, newline=""))][1:]


def by_manual(predictor: Predictor, rows: list[list[float]]) -> list[str]:
    return [record[1] for record in manual(predictor, _csv(predictor, rows))["prediction_valid.csv"]][1:]


def by_open_inference(predictor: Predictor, rows: list[list[float]]) -> list[str]:
    outputs = answer(predictor, "v2/models/m/infer", {"inputs": [_tensor(predictor, rows)]})["outputs"]
    return [str(label) for label in outputs[0]["data"]]


def by_binary_tensors(predictor: Predictor, rows: list[list[float]]) -> list[str]:
    wanted = [{"name": "label", "parameters": {"binary_data": True}}]
    body = {"inputs": [_tensor(predictor, rows)], "outputs": wanted}
    reply = send(predictor, "v2/models/m/infer", body)
    length = int(dict(reply.headers)[b"inference-header-content-length"])
    output = json.loads(reply.body[:length])["outputs"][0]
    data = reply.body[length:]
    if output["datatype"] == "INT64":
        return [str(int.from_bytes(data[at : at + 8], "little", signed=True)) for at in range(0, len(data), 8)]
    found, place = [], 0
    while place < len(data):
        stop = place + 4 + int.from_bytes(data[place : place + 4], "little")
        found.append(data[place + 4 : stop].decode())
        place = stop
    return found


def by_kserve(predictor: Predictor, rows: list[list[float]]) -> list[str]:
    return [str(one) for one in answer(predictor, "v1/models/m:predict", {"instances": rows})["predictions"]]


def by_mlflow(predictor: Predictor, rows: list[list[float]]) -> list[str]:
    body = {"dataframe_split": {"columns": [c.name for c in predictor.spec.columns], "data": rows}}
    return [str(one) for one in answer(predictor, "invocations", body)["predictions"]]
