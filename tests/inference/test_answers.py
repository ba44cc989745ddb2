"""What a model's answer means is the same in every format: each shape of answer, in each of them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from contract.model_spec import ModelSpec
from contract.problems import Problem
from inference.formats import ApiInfo, find, warm_up
from inference.formats.description.snippets import snippets
from inference.predictor import Predictor
from tests.conftest import Load
from tests.inference.client import answer, manual, manual_body, refused, send
from tests.meant_models import choosing, passing, zipmap
from tests.model_files import Made

V2 = "v2/models/m/infer"


@dataclass(frozen=True)
class Shape:
    """A model, the cells of one row, and what each format answers."""

    made: Made
    cells: list[float]
    native: dict[str, Any]
    csv: dict[str, str]
    manual: dict[str, str]
    v2: dict[str, tuple[str, list[int], list[Any]]]
    plain: Any


SHAPES = {
    "probabilities": Shape(
        choosing([0, 1], names=["no", "yes"], width=2),
        [1, 0.75, 0.25],
        {"class": "yes", "probabilities": {"no": 0.75, "yes": 0.25}},
        {"prediction": "yes", "probability_no": "0.75", "probability_yes": "0.25"},
        {"kind": "yes", "no": "0.750000", "yes": "0.250000"},
        {"label": ("BYTES", [1], ["yes"]), "probabilities": ("FP32", [1, 2], [0.75, 0.25])},
        "yes",
    ),
    "one probability": Shape(
        choosing([False, True], width=1),
        [0, 0.25],
        {"class": "false", "probabilities": {"false": 0.75, "true": 0.25}},
        {"prediction": "false", "probability_false": "0.75", "probability_true": "0.25"},
        {"kind": "false", "false": "0.750000", "true": "0.250000"},
        {"label": ("BYTES", [1], ["false"]), "probabilities": ("FP32", [1, 2], [0.75, 0.25])},
        "false",
    ),
    "maps": Shape(
        zipmap([7, 3, 5]),
        [2, 0.5, 0.125, 0.375],
        {"class": "5", "probabilities": {"7": 0.5, "3": 0.125, "5": 0.375}},
        {"prediction": "5", "probability_7": "0.5", "probability_3": "0.125", "probability_5": "0.375"},
        {"kind": "5", "7": "0.500000", "3": "0.125000", "5": "0.375000"},
        {"label": ("INT64", [1], [5]), "probabilities": ("FP32", [1, 3], [0.5, 0.125, 0.375])},
        5,
    ),
    "maps without a label": Shape(
        zipmap(["b", "a"], with_label=False),
        [1, 0.625, 0.375],
        {"class": "b", "probabilities": {"b": 0.625, "a": 0.375}},
        {"prediction": "b", "probability_b": "0.625", "probability_a": "0.375"},
        {"kind": "b", "b": "0.625000", "a": "0.375000"},
        {"label": ("BYTES", [1], ["b"]), "probabilities": ("FP32", [1, 2], [0.625, 0.375])},
        "b",
    ),
    "scores": Shape(
        choosing(["x", "y", "z"], width=3, role="scores"),
        [1, 2.5, -1.5, 12.25],
        {"class": "y", "scores": {"x": 2.5, "y": -1.5, "z": 12.25}},
        {"prediction": "y", "score_x": "2.5", "score_y": "-1.5", "score_z": "12.25"},
        {"kind": "y", "score_x": "2.5", "score_y": "-1.5", "score_z": "12.25"},
        {"label": ("BYTES", [1], ["y"]), "scores": ("FP32", [1, 3], [2.5, -1.5, 12.25])},
        "y",
    ),
    "scores without a label": Shape(
        choosing(["x", "y"], width=2, role="scores", element="double", with_label=False),
        [0, -7.5, -1.5],
        {"class": "y", "scores": {"x": -7.5, "y": -1.5}},
        {"prediction": "y", "score_x": "-7.5", "score_y": "-1.5"},
        {"kind": "y", "score_x": "-7.5", "score_y": "-1.5"},
        {"label": ("BYTES", [1], ["y"]), "scores": ("FP64", [1, 2], [-7.5, -1.5])},
        "y",
    ),
    "one score": Shape(
        choosing([0, 1], names=["malignant", "benign"], width=1, role="scores"),
        [1, -3.5],
        {"class": "benign", "score": -3.5},
        {"prediction": "benign", "score": "-3.5"},
        {"kind": "benign", "score": "-3.5"},
        {"label": ("BYTES", [1], ["benign"]), "score": ("FP32", [1], [-3.5])},
        "benign",
    ),
    "anomaly": Shape(
        choosing([-1, 1], width=1, role="scores", task="anomaly"),
        [0, -0.125],
        {"class": "-1", "score": -0.125},
        {"prediction": "-1", "score": "-0.125"},
        {"kind": "-1", "score": "-0.125"},
        {"label": ("INT64", [1], [-1]), "score": ("FP32", [1], [-0.125])},
        -1,
    ),
    "label alone": Shape(
        choosing(['a,"b"', "line\nbreak", "🙂"]),
        [1],
        {"class": "line\nbreak"},
        {"prediction": "line\nbreak"},
        {"kind": "line\nbreak"},
        {"label": ("BYTES", [1], ["line\nbreak"])},
        "line\nbreak",
    ),
    "one target": Shape(
        passing(("y", "float", ["price"]), extra=["echo"]),
        [1.25],
        {"value": 1.25},
        {"prediction": "1.25"},
        {"Prediction value": "1.25"},
        {"value": ("FP32", [1], [1.25])},
        1.25,
    ),
    "whole numbers": Shape(
        passing(("y", "int64", ["rings"])),
        [7],
        {"value": 7},
        {"prediction": "7"},
        {"Prediction value": "7"},
        {"value": ("INT64", [1], [7])},
        7,
    ),
    "float16": Shape(
        passing(("y", "float16", ["price"])),
        [1.25],
        {"value": 1.25},
        {"prediction": "1.25"},
        {"Prediction value": "1.25"},
        {"value": ("FP32", [1], [1.25])},
        1.25,
    ),
    "two columns": Shape(
        passing(("y", "float", ["height", "weight"])),
        [1.5, 2.5],
        {"values": {"height": 1.5, "weight": 2.5}},
        {"height": "1.5", "weight": "2.5"},
        {"height": "1.5", "weight": "2.5"},
        {"height": ("FP32", [1], [1.5]), "weight": ("FP32", [1], [2.5])},
        {"height": 1.5, "weight": 2.5},
    ),
    "two outputs": Shape(
        passing(("one", "double", ['he said "10%"']), ("two", "int32", ["rings"])),
        [1.5, 2],
        {"values": {'he said "10%"': 1.5, "rings": 2}},
        {'he said "10%"': "1.5", "rings": "2"},
        {'he said "10%"': "1.5", "rings": "2"},
        {'he said "10%"': ("FP64", [1], [1.5]), "rings": ("INT64", [1], [2])},
        {'he said "10%"': 1.5, "rings": 2},
    ),
}


@pytest.fixture(params=list(SHAPES))
def shape(request: pytest.FixtureRequest) -> Shape:
    return SHAPES[request.param]


@pytest.fixture
def predictor(load: Load, shape: Shape) -> Predictor:
    loaded = load(shape.made)
    warm_up(loaded)
    return loaded


def row_of(predictor: Predictor, cells: list[float]) -> dict[str, float]:
    return dict(zip([column.name for column in predictor.spec.columns], cells, strict=True))


def csv_of(predictor: Predictor, cells: list[float], n_rows: int = 1) -> str:
    line = ",".join(map(str, cells))
    return "\n".join([",".join(column.name for column in predictor.spec.columns), *[line] * n_rows])


def records(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("n_rows", [1, 3])
def test_json_rows(predictor: Predictor, shape: Shape, n_rows: int) -> None:
    rows = [row_of(predictor, shape.cells)] * n_rows

    assert answer(predictor, "predict", {"rows": rows})["predictions"] == [shape.native] * n_rows


@pytest.mark.parametrize("n_rows", [1, 3])
def test_csv(predictor: Predictor, shape: Shape, n_rows: int) -> None:
    body = csv_of(predictor, shape.cells, n_rows).encode()

    assert records(send(predictor, "predict", body, "text/csv").body.decode()) == [shape.csv] * n_rows


def test_the_manual_format(predictor: Predictor, shape: Shape) -> None:
    header, row = manual(predictor, csv_of(predictor, shape.cells), nr=True)["prediction_valid.csv"]

    assert dict(zip(header, row, strict=True)) == shape.manual


@pytest.mark.parametrize("n_rows", [1, 3])
def test_open_inference(predictor: Predictor, shape: Shape, n_rows: int) -> None:
    matrix = {"name": "X", "datatype": "FP32", "shape": [n_rows, len(shape.cells)], "data": shape.cells * n_rows}

    outputs = answer(predictor, V2, {"inputs": [matrix]})["outputs"]

    assert {one["name"]: (one["datatype"], one["shape"], one["data"]) for one in outputs} == {
        name: (datatype, [n_rows, *dims[1:]], data * n_rows) for name, (datatype, dims, data) in shape.v2.items()
    }


def test_open_inference_metadata_tells_the_same_tensors(predictor: Predictor, shape: Shape) -> None:
    metadata = json.loads(page_of(predictor.spec, predictor, "v2/models/m"))

    assert {one["name"]: (one["datatype"], one["shape"]) for one in metadata["outputs"]} == {
        name: (datatype, [-1, *dims[1:]]) for name, (datatype, dims, _) in shape.v2.items()
    }
    assert metadata.get("parameters", {}).get("classes", []) == list(predictor.spec.classes)


def test_kserve_and_mlflow(predictor: Predictor, shape: Shape) -> None:
    rows = [row_of(predictor, shape.cells)] * 2

    assert answer(predictor, "v1/models/m:predict", {"instances": rows}) == {"predictions": [shape.plain] * 2}
    assert answer(predictor, "invocations", {"dataframe_records": rows}) == {"predictions": [shape.plain] * 2}


def test_scores_are_nowhere_called_probabilities(predictor: Predictor, shape: Shape) -> None:
    names = {name for name in (*shape.native, *shape.v2, *shape.csv) if "probabilit" in name}
    described = json.dumps(snippets("http://x", predictor.spec)[3].text) + openapi(predictor)

    assert bool(names) == ("probabilities" in shape.native)
    assert ('"probabilities"' in described or "[probabilities]" in described) == bool(names)


def test_the_manual_format_leaves_out_a_class_alone_only_where_something_is_left(load: Load) -> None:
    predictor = load(SHAPES["label alone"].made)

    assert manual(predictor, "pick\n1", nc=True)["prediction_valid.csv"] == [["Row number"], ["1"]]
    assert manual(predictor, "pick\n1", nc=True, nr=True, ad=True)["prediction_valid.csv"] == [["pick"], ["1"]]
    problem = refused(predictor, "predict", manual_body("pick\n1", nc=True, nr=True))
    assert problem.kind.code == "malformed_body"


@pytest.mark.parametrize(
    ("name", "datatypes"),
    [("whole numbers", {"value": "int64"}), ("two outputs", {"one": "float64", "two": "int32"})],
)
def test_metadata_of_a_model_in_a_process_of_its_own_has_the_stored_types(
    load: Load, name: str, datatypes: dict[str, str]
) -> None:
    """Nothing has been computed in this process: what is told comes from the meaning alone."""
    shape = SHAPES[name]
    meaning = shape.made[0].meaning
    assert meaning is not None
    noted = tuple(
        msgspec.structs.replace(one, dtype=dtype)
        for one, dtype in zip(meaning.outputs, datatypes.values(), strict=True)
    )
    spec = msgspec.structs.replace(shape.made[0], meaning=msgspec.structs.replace(meaning, outputs=noted))

    outputs = json.loads(page_of(spec, None, "v2/models/m"))["outputs"]

    assert {one["name"]: one["datatype"] for one in outputs} == {name: one[0] for name, one in shape.v2.items()}


POWER_QUERY = {
    "probabilities": "[prediction = [class]] & [probabilities]",
    "scores": "[prediction = [class]] & [scores]",
    "one score": "[prediction = [class]] & [score = [score]]",
    "label alone": "[prediction = [class]])",
    "one target": "[prediction = [value]]",
    "two columns": "each [values])",
}


@pytest.mark.parametrize("name", POWER_QUERY)
def test_the_excel_snippet_reads_the_answer_that_is_given(name: str) -> None:
    assert POWER_QUERY[name] in snippets("http://x", SHAPES[name].made[0])[3].text


# --- what descriptions say --------------------------------------------------------------------------------------------


def page_of(spec: ModelSpec, predictor: Predictor | None, path: str) -> str:
    endpoint = find(path)
    assert endpoint is not None
    assert endpoint.page is not None
    info = ApiInfo("a" * 16, "m", "m", "1", "http://x", True, spec, predictor, "onnx")
    return endpoint.page.make(info).body.decode()


def openapi(predictor: Predictor) -> str:
    return page_of(predictor.spec, predictor, "openapi.json")


def test_openapi_describes_the_answer_that_is_given(predictor: Predictor, shape: Shape) -> None:
    document = json.loads(openapi(predictor))
    prediction = document["components"]["schemas"]["Predictions"]["properties"]["predictions"]["items"]
    contents = document["paths"]["/predict"]["post"]["responses"]["200"]["content"]

    assert sorted(prediction["required"]) == sorted(prediction["properties"]) == sorted(shape.native)
    for member, value in shape.native.items():
        if isinstance(value, dict):
            assert prediction["properties"][member]["required"] == list(value)
    [example] = contents["application/json"]["example"]["predictions"]
    assert skeleton(example) == skeleton(shape.native)
    assert records(contents["text/csv"]["example"])[0].keys() == shape.csv.keys()


def skeleton(value: Any) -> Any:
    """The members of an answer, without what stands in them."""
    return {name: skeleton(one) for name, one in value.items()} if isinstance(value, dict) else None


def test_the_docs_page_shows_the_answer(predictor: Predictor, shape: Shape) -> None:
    page = page_of(predictor.spec, predictor, "docs")

    assert 'id="answer-json"' in page
    assert ("The class that the model names" in page) == ("class" in shape.native)


# --- reasons ----------------------------------------------------------------------------------------------------------

SUBJECTS = {
    "probabilities": ["'yes' probability"],
    "maps": ["'5' probability"],
    "scores": ["'y' score"],
    "one score": ["'score' value"],
    "anomaly": ["'score' value"],
    "one target": ["'Prediction value' value"],
    "two columns": ["'height' value", "'weight' value"],
}


@pytest.mark.parametrize("name", SUBJECTS)
def test_reasons_say_what_they_are_about(load: Load, name: str) -> None:
    predictor = load(SHAPES[name].made)
    cells = SHAPES[name].cells

    header, row = manual(predictor, csv_of(predictor, cells), ar=True, nr=True)["prediction_analysis.csv"]

    reasons = header[len(SHAPES[name].manual) :]
    assert reasons == [
        f"{word} {subject} {rank}"
        for subject in SUBJECTS[name]
        for word in ("Increase", "Decrease")
        for rank in (1, 2, 3)
    ]
    assert any(row[len(SHAPES[name].manual) :])


def test_reasons_are_differences_of_the_score_of_the_predicted_class(load: Load) -> None:
    predictor = load(SHAPES["scores"].made)
    row = row_of(predictor, SHAPES["scores"].cells)

    [explanation] = answer(predictor, "v1/models/m:explain", {"instances": [row]})["explanations"]

    assert explanation == {"class": "y", "contributions": {"pick": 0.0, "n0": 0.0, "n1": -1.5, "n2": 0.0}}


def test_reasons_of_one_score_name_no_class(load: Load) -> None:
    predictor = load(SHAPES["anomaly"].made)
    row = row_of(predictor, SHAPES["anomaly"].cells)

    [explanation] = answer(predictor, "v1/models/m:explain", {"instances": [row]})["explanations"]

    assert explanation == {"contributions": {"pick": 0.0, "n0": -0.125}}


def test_each_target_is_explained_apart(load: Load) -> None:
    predictor = load(SHAPES["two columns"].made)
    rows = [row_of(predictor, SHAPES["two columns"].cells)] * 2

    explanations = answer(predictor, "v1/models/m:explain", {"instances": rows})["explanations"]

    expected = {"height": {"x0": 1.5, "x1": 0.0}, "weight": {"x0": 0.0, "x1": 2.5}}
    assert explanations == [{"contributions": expected}] * 2


def test_a_label_alone_has_nothing_to_explain(load: Load) -> None:
    predictor = load(SHAPES["label alone"].made)
    row = row_of(predictor, [1])

    for path, body in (
        ("v1/models/m:explain", {"instances": [row]}),
        ("predict", manual_body(csv_of(predictor, [1]), ar=True)),
    ):
        problem = refused(predictor, path, body)
        assert isinstance(problem, Problem)
        assert problem.kind.code == "invalid_rows"
        assert problem.kind.status == 422
    assert ":explain" not in openapi(predictor)
