"""No body, whatever is in it, does anything but decode or be refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.problems import Problem
from inference.formats import choose, refusal, sample_body, sample_csv
from inference.predictor import ModelFailed, Predictor
from inference.table import Table
from tests import model_files as made
from tests.conftest import Load
from tests.model_files import spec_of

KINDS = {"age": "int64", "height": "float", "is_member": "bool", "weight": "float"}
COLUMNS = {"age": "int", "height": "float", "is_member": "bool", "weight": "float?"}
SAMPLE = {"age": 3, "height": 1.5, "is_member": True, "weight": 70.0}

names = st.sampled_from([*COLUMNS, "rows", "heigth", "Age", "", 'x"y'])
atoms = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5)
)
values = st.recursive(atoms, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4))
likely_rows = st.fixed_dictionaries({}, optional=dict.fromkeys(COLUMNS, atoms) | {"extra": values})
odd_cells = ["1", "1.5", "-2e3", "true", "", "nan", "1e400", "x", '"a,b"', '"', "é", "9" * 30, " 4 "]
cells = st.sampled_from(odd_cells) | st.text(max_size=4)

few = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def mixed(load: Load) -> Predictor:
    return load((spec_of(COLUMNS, SAMPLE), made.summing(KINDS)))  # type: ignore[arg-type]


def attempt(predictor: Predictor, content_type: str, body: bytes) -> Table | None:
    """The table, or None for a refusal of the documented kinds. Whatever else is raised fails the test."""
    request_format = choose("predict", {b"content-type": content_type.encode()})
    try:
        table = request_format.decode(body, predictor).table
    except Problem as refusal:
        problem = refusal
    else:
        return _sound(table)
    assert problem.kind.code in {"malformed_body", "invalid_rows"}
    assert len(problem.errors) <= 100
    assert problem.detail
    return None


def _sound(table: Table) -> Table:
    assert table.n_rows >= 1
    assert all(column.shape == (table.n_rows, 1) for column in table.columns)
    return table


@few
@given(body=st.binary(max_size=200))
def test_any_bytes(mixed: Predictor, body: bytes) -> None:
    for content_type in ("application/json", "text/csv", "text/csv; charset=utf-16", "text/csv; charset=shift_jis"):
        attempt(mixed, content_type, body)


@few
@given(document=values | st.fixed_dictionaries({"rows": st.lists(likely_rows | values, max_size=5)}))
def test_any_json(mixed: Predictor, document: object) -> None:
    attempt(mixed, "application/json", json.dumps(document).encode())


@few
@given(row=st.fixed_dictionaries(dict.fromkeys(COLUMNS, atoms)))
def test_the_quick_and_the_careful_reading_agree(mixed: Predictor, row: dict[str, object]) -> None:
    alone = attempt(mixed, "application/json", json.dumps({"rows": [row]}).encode())

    # a second row that only the careful reading takes (3.0 for a whole number) makes it read the first one too
    together = attempt(mixed, "application/json", json.dumps({"rows": [row, SAMPLE | {"age": 3.0}]}).encode())

    assert (alone is None) == (together is None)
    if alone is not None and together is not None:
        assert [str(column[0]) for column in alone.columns] == [str(column[0]) for column in together.columns]


@few
@given(rows=st.lists(st.lists(cells, max_size=6), max_size=5), separator=st.sampled_from(",;\t"))
def test_any_csv(mixed: Predictor, rows: list[list[str]], separator: str) -> None:
    lines = [separator.join(["age", "height", "is_member", "weight"]), *(separator.join(row) for row in rows)]

    attempt(mixed, "text/csv", "\r\n".join(lines).encode("utf-8", "surrogatepass"))


@few
@given(row=st.tuples(cells, cells, cells, cells), separator=st.sampled_from(",;"))
def test_many_rows_are_read_as_one_is(mixed: Predictor, row: tuple[str, ...], separator: str) -> None:
    header = separator.join(["age", "height", "is_member", "weight"])
    line = separator.join(row)

    one = attempt(mixed, "text/csv", f"{header}\n{line}\n".encode())
    many = attempt(mixed, "text/csv", (f"{header}\n" + f"{line}\n" * 40).encode())

    assert one is None or many is not None  # an open quote may make one row of the forty
    if one is not None and many is not None and one.n_rows == 1 and many.n_rows == 40:
        assert [str(column[0]) for column in one.columns] == [str(column[39]) for column in many.columns]


tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": names,
        "datatype": st.sampled_from(["BOOL", "INT8", "INT64", "UINT64", "FP16", "FP32", "FP64", "BYTES", "BF16", ""]),
        "shape": st.lists(st.integers(-2, 5), max_size=3),
        "data": values,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 60) | atoms}),
    },
)
manual_inputs = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.sampled_from(["pr", "ar", "ad", "nc", "nr", "pc", "x"]),
            "type": st.sampled_from(["csv", "boolean", "string"]),
            "data": atoms | st.just("YWdlCjEK"),
        },
    ),
    max_size=7,
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "inputs": st.lists(tensors, max_size=5) | manual_inputs | values,
        "outputs": values,
        "parameters": values,
        "instances": st.lists(likely_rows | st.lists(atoms, max_size=5), max_size=4) | values,
        "dataframe_split": st.fixed_dictionaries({}, optional={"columns": st.lists(names), "data": values}) | values,
        "dataframe_records": st.lists(likely_rows, max_size=4) | values,
        "rows": values,
    },
)


def _check_refusal(path: str, problem: Problem) -> None:
    assert problem.kind.code in {"malformed_body", "invalid_rows"}
    content, _ = refusal(path, problem, "id", "https://docs")
    assert isinstance(json.loads(content), dict)


def attempt_all(predictor: Predictor, body: bytes, json_length: int | None = None) -> None:
    """The body in every format, as far as the answer; every refusal is one that its format has words for."""
    headers = {b"content-type": b"application/json"}
    if json_length is not None:
        headers[b"inference-header-content-length"] = b"%d" % json_length
    for path in ("predict", "v2/models/m/infer", "v1/models/m:predict", "v1/models/m:explain", "invocations"):
        request_format = choose(path, headers)
        try:
            decoded = request_format.decode(body, predictor)
        except Problem as problem:
            _check_refusal(path, problem)
            continue
        _sound(decoded.table)
        try:
            prediction = predictor.predict(decoded.table)
        except ModelFailed:  # numbers that are too large to be added
            continue
        assert request_format.encode(prediction, decoded, predictor, "1").body


@few
@given(document=documents, tail=st.binary(max_size=40), lie=st.integers(-5, 5))
def test_any_document_in_any_format(mixed: Predictor, document: object, tail: bytes, lie: int) -> None:
    body = json.dumps(document).encode()

    attempt_all(mixed, body)
    attempt_all(mixed, body + tail, max(len(body) + lie, 0))


@few
@given(
    datatype=st.sampled_from(["INT64", "FP32", "BYTES", "BOOL"]), raw=st.binary(max_size=60), n_rows=st.integers(0, 9)
)
def test_any_binary_tensor(mixed: Predictor, datatype: str, raw: bytes, n_rows: int) -> None:
    head = {"name": "age", "datatype": datatype, "shape": [n_rows], "parameters": {"binary_data_size": len(raw)}}
    text = json.dumps({"inputs": [head]}).encode()

    attempt_all(mixed, text + raw, len(text))


@few
@given(cut=st.integers(0, 80), flip=st.integers(0, 80), byte=st.integers(0, 255))
def test_good_bodies_cut_short_or_with_one_byte_changed(mixed: Predictor, cut: int, flip: int, byte: int) -> None:
    for content_type, body in (("application/json", sample_body(mixed.spec)), ("text/csv", sample_csv(mixed.spec))):
        attempt(mixed, content_type, body[:cut])
        attempt(mixed, content_type, body[:flip] + bytes([byte]) + body[flip + 1 :])
