"""No column is lost because a system spells its name differently, in any format."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from contract.model_spec import Column, ModelSpec
from inference.formats import answered, choose
from inference.names import fold
from inference.predictor import Predictor
from tests import model_files as made
from tests.conftest import Load
from tests.inference.client import JSON, manual_body, refused, send
from tests.model_files import spec_of

NAMES = ("âge", "ガス", "hr", "pH")
DECOMPOSED = tuple(unicodedata.normalize("NFD", name) for name in NAMES)


def csv_text(names: Sequence[str], values: Sequence[float]) -> bytes:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([names, values])
    return text.getvalue().encode()


def tensors(names: Sequence[str], values: Sequence[float]) -> dict[str, Any]:
    return {
        "inputs": [
            {"name": name, "shape": [1], "datatype": "FP64", "data": [value]}
            for name, value in zip(names, values, strict=True)
        ]
    }


def row(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    return dict(zip(names, values, strict=True))


SENDERS: dict[str, Callable[[Sequence[str], Sequence[float]], tuple[str, Any, str]]] = {
    "json": lambda names, values: ("predict", {"rows": [row(names, values)]}, JSON),
    "csv": lambda names, values: ("predict", csv_text(names, values), "text/csv"),
    "manual": lambda names, values: ("predict", manual_body(csv_text(names, values), ar=True), JSON),
    "v2": lambda names, values: ("v2/models/m/infer", tensors(names, values), JSON),
    "v1": lambda names, values: ("v1/models/m:predict", {"instances": [row(names, values)]}, JSON),
    "split": lambda names, values: (
        "invocations",
        {"dataframe_split": {"columns": list(names), "data": [list(values)]}},
        JSON,
    ),
    "records": lambda names, values: ("invocations", {"dataframe_records": [row(names, values)]}, JSON),
    "columns": lambda names, values: (
        "invocations",
        {"inputs": {name: [value] for name, value in zip(names, values, strict=True)}},
        JSON,
    ),
    "mlflow csv": lambda names, values: ("invocations", csv_text(names, values), "text/csv"),
}


@pytest.fixture(params=[False, True], ids=["required", "nullable"])
def four(load: Load, request: pytest.FixtureRequest) -> Predictor:
    kind = "float?" if request.param else "float"
    return load((spec_of(dict.fromkeys(NAMES, kind), {}), made.summing(dict.fromkeys(NAMES, "double"))))


@pytest.fixture
def passing(load: Load) -> Predictor:
    """What it answers is the row itself: four numbers that may be missing, in one matrix."""
    return load(matrix(NAMES))


def matrix(names: Sequence[str]) -> made.Made:
    spec = ModelSpec(
        task="multiclass",
        classes=tuple(f"c{index}" for index in range(len(names))),
        columns=tuple(Column(name=name, type="float", nullable=True) for name in names),
        input="matrix",
        sample={name: 1 / len(names) for name in names},
    )
    return spec, made.probabilities_only(len(names))


@pytest.mark.parametrize("sender", SENDERS)
def test_decomposed_names_are_the_same_columns_in_every_format(four: Predictor, sender: str) -> None:
    path, body, media = SENDERS[sender](DECOMPOSED, [1, 2, 3, 4])
    same_path, same_body, _ = SENDERS[sender](NAMES, [1, 2, 3, 4])

    request_format = choose(path, {b"content-type": media.encode()})
    table = request_format.decode(body if isinstance(body, bytes) else json.dumps(body).encode(), four).table

    assert [array.item() for array in table.columns or np.ravel(table.matrix)] == [1, 2, 3, 4]
    assert path == same_path
    assert send(four, path, body, media).status == send(four, path, same_body, media).status == 200


@pytest.mark.parametrize("sender", SENDERS)
def test_two_names_for_one_column_are_refused_and_both_named(four: Predictor, sender: str) -> None:
    path, body, media = SENDERS[sender]([*NAMES, DECOMPOSED[0]], [1, 2, 3, 4, 5])

    problem = refused(four, path, body, media)

    assert problem.kind.code == "invalid_rows"
    [fault] = problem.errors
    assert (fault.row, fault.column) == (1, "âge")
    assert fault.received == r'two: "\u00e2ge" and "a\u0302ge"'


def test_a_name_that_looks_like_two_columns_is_refused(load: Load) -> None:
    predictor = load((spec_of({"a": "float?", " a": "float?"}, {}), made.summing({"a": "double", " a": "double"})))

    for sender in SENDERS.values():
        path, body, media = sender(["a", "a "], [1, 2])
        [fault] = refused(predictor, path, body, media).errors
        assert fault.expected == 'exactly " a" or "a"'
        path, body, media = sender(["a", " a"], [1, 2])
        assert send(predictor, path, body, media).status == 200


def test_other_columns_beside_exact_names_are_ignored(four: Predictor) -> None:
    body = {"rows": [row(NAMES, [1, 2, 3, 4]) | {"note": "x"}] * 3}

    assert json.loads(send(four, "predict", body).body)["predictions"] == [{"value": 10.0}] * 3


@pytest.mark.parametrize("spelt", ["hr ", "\uff48\uff52", "\ufeffhr"])
def test_the_manual_format_finds_the_column_to_put_leftmost(four: Predictor, spelt: str) -> None:
    body = manual_body(csv_text(NAMES, [1, 2, 3, 4]), pc=spelt)

    assert send(four, "predict", body).status == 200


WIDE = {chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)}


def spelt_differently(name: str, form: str, blank: str, *, is_wide: bool) -> str:
    text = "".join(WIDE.get(character, character) for character in name) if is_wide else name
    return blank + unicodedata.normalize(form, text) + blank  # type: ignore[arg-type]


names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), min_size=1, max_size=8)
spellings = st.tuples(
    st.sampled_from(["NFC", "NFD"]), st.sampled_from(["", " ", "\u3000", "\u00a0", "\u200b"]), st.booleans()
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    columns=st.lists(names, min_size=2, max_size=4, unique_by=fold), ways=st.lists(spellings, min_size=4, max_size=4)
)
def test_no_spelling_of_a_name_loses_its_column(
    tmp_path_factory: pytest.TempPathFactory, columns: list[str], ways: list[tuple[str, str, bool]]
) -> None:
    assume(all(fold(name) for name in columns))
    path = tmp_path_factory.mktemp("spelt") / "model.onnx"
    spec, content = matrix(columns)
    path.write_bytes(content)
    predictor = Predictor(path, spec)
    sent = [
        spelt_differently(name, form, blank, is_wide=is_wide)
        for name, (form, blank, is_wide) in zip(columns, ways, strict=False)
    ]
    values = [(index + 1) / 16 for index in range(len(columns))]

    for name, sender in SENDERS.items():
        url, body, media = sender(sent, values)
        request_format = choose(url, {b"content-type": media.encode()})
        decoded = request_format.decode(body if isinstance(body, bytes) else json.dumps(body).encode(), predictor)
        assert decoded.table.matrix is not None
        assert decoded.table.matrix.tolist() == [values], name


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.lists(st.one_of(st.none(), st.floats(0, 1, width=32)), min_size=4, max_size=4), min_size=1, max_size=20
    ),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    separator=st.sampled_from([",", ";", "\t"]),
    n_empty=st.integers(0, 3),
    has_separator_line=st.booleans(),
)
def test_any_csv_is_read_as_it_was_written(
    passing: Predictor,
    rows: list[list[float | None]],
    quoting: Any,
    separator: str,
    n_empty: int,
    has_separator_line: bool,
) -> None:
    text = io.StringIO()
    if has_separator_line:
        text.write(f"sep={separator}\r\n")
    writer = csv.writer(text, delimiter=separator, quoting=quoting)
    writer.writerow(NAMES)
    writer.writerows([["" if cell is None else repr(cell) for cell in one] for one in rows])
    writer.writerows([[""] * 4] * n_empty)
    is_empty = [all(cell is None for cell in one) for one in rows] + [True] * n_empty
    kept = len(is_empty)
    while kept and is_empty[kept - 1] and not all(is_empty):
        kept -= 1

    request_format = choose("predict", {b"content-type": b"text/csv"})
    table = request_format.decode(text.getvalue().encode(), passing).table

    assert table.n_rows == kept
    dropped = len(is_empty) - kept
    assert [warning.value for warning in table.warnings.listed] == [dropped] if dropped else table.warnings is None
    assert table.matrix is not None
    sent = [[None if cell is None else cell for cell in one] for one in rows][:kept]
    read = [[None if cell != cell else cell for cell in one] for one in table.matrix.tolist()]
    assert read[: len(sent)] == sent


def test_answers_are_complete_with_warnings_of_every_format(load: Load) -> None:
    spec = spec_of({"a": "float"}, {"a": 1.0})
    predictor = load((spec, made.summing({"a": "float"})))

    for sender in SENDERS.values():
        path, body, media = sender(["a"], [2**24 + 1])
        request_format = choose(path, {b"content-type": media.encode()})
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        decoded = request_format.decode(content, predictor)
        prediction = predictor.predict(decoded.table)
        reply = answered(request_format, prediction, decoded, predictor, "1")
        assert (b"x-prediction-warnings", b"1") in reply.headers
        assert reply.warned == (("a", "inexact_number", 1),)
