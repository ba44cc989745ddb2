"""The manual's own format: base64 of a CSV in, base64 of one or two CSVs out, named inputs and outputs.

It comes to the address of native JSON rows, with the same content type; `native_json` hands over what has `inputs`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import msgspec

from contract.model_spec import ModelSpec
from contract.problems import Problem
from inference.answers import AnswerShape, answer_shape, can_explain
from inference.formats.base import Decoded, Reply
from inference.formats.csv_parser import CsvParser
from inference.formats.csv_reader import CsvText
from inference.formats.description.schemas import TEXT, Schema, list_of, object_of
from inference.formats.native_csv import sample_csv
from inference.formats.numbers import number_texts
from inference.formats.replies import JSON_TYPE, csv_line
from inference.names import Names
from inference.predictor import Predictor
from inference.reasons import LISTED, Explainer, Reasons, number_text
from inference.table import Classification, Prediction

# name -> type, whether it must be there
_INPUTS = {
    "pr": ("csv", True),
    "ar": ("boolean", True),
    "ad": ("boolean", True),
    "nc": ("boolean", True),
    "nr": ("boolean", False),
    "pc": ("string", False),
}
_KINDS: dict[str, tuple[type, str]] = {
    "csv": (str, "base64 text"),
    "boolean": (bool, "true or false"),
    "string": (str, "text"),
}
_WITHOUT_LINE_ENDS = {ord("\r"): None, ord("\n"): None}
_ROW_NUMBER = "Row number"
_VALUE = "Prediction value"


class _Input(msgspec.Struct):
    name: str
    type: str
    data: Any


class _Output(msgspec.Struct):
    name: str
    data: str


class _Answer(msgspec.Struct):
    version: str
    outputs: list[_Output]


class _Members(msgspec.Struct):
    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    rows: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_MEMBERS = msgspec.json.Decoder(_Members)
_INPUT_LIST = msgspec.json.Decoder(list[_Input])


class ManualRequest(msgspec.Struct):
    """The options beside the rows. `header` and `rows` are the CSV as it was sent, where the answer repeats it.

    `columns` is the header with the model's own names.
    """

    has_reasons: bool
    appends_inputs: bool
    omits_class: bool
    omits_row_number: bool
    lead_column: str
    header: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def manual_members(body: bytes) -> bytes | None:
    """The body's `inputs`, still as text; None where it has none. Raises `Problem` where it has `rows` as well."""
    try:
        found = _MEMBERS.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    if found.inputs is msgspec.UNSET:
        return None
    if found.rows is not msgspec.UNSET:
        raise Problem("malformed_body", "The body has both `rows` and `inputs`: send one of them.")
    return bytes(found.inputs)


class Manual:
    """How it is read and answered. `decode` takes what `manual_members` found.

    `csv_default`: the charset of a CSV that is no UTF-8; "" for none.
    """

    name = "manual"

    def __init__(self, csv_default: str = "") -> None:
        self._csv_default = csv_default

    def decode(self, members: bytes, predictor: Predictor) -> Decoded:
        given = _given(members)
        body = _csv_body(given["pr"])
        parser = predictor.prepared(CsvParser)
        table, form = parser.table(body, None, self._csv_default)
        request = ManualRequest(
            has_reasons=given["ar"],
            appends_inputs=given["ad"],
            omits_class=given["nc"],
            omits_row_number=given.get("nr", False),
            lead_column=given.get("pc", ""),
        )
        if request.appends_inputs or request.lead_column or request.has_reasons:
            text = CsvText(body, form)
            request.header, request.rows = text.header, list(text.rows())
            request.columns = parser.own_names(text.header)
        if _leaves_nothing(request, answer_shape(predictor.spec)):
            raise Problem("malformed_body", "`nc` and `nr` leave out everything: the model answers with a class alone.")
        if request.lead_column and _place(request.header, request.lead_column) is None:
            raise Problem("malformed_body", f"The CSV has no column “{request.lead_column[:80]}”, which `pc` names.")
        if not request.has_reasons:
            return Decoded(table, request)
        explainer = predictor.prepared(Explainer)
        explainer.check(table.n_rows)
        return Decoded(table, request, explainer.row_predictions)

    def encode(self, prediction: Prediction, decoded: Decoded, predictor: Predictor, model_version: str) -> Reply:
        request: ManualRequest = decoded.note
        spec = predictor.spec
        result = _with_lead(request, _result(prediction, spec, request), decoded.table.n_rows)
        appended = _columns(request.header, request.rows) if request.appends_inputs else []
        outputs = [_output("prediction_valid.csv", [*result, *appended])]
        if request.has_reasons:
            reasons = predictor.prepared(Explainer).explain(decoded.table, prediction, predictor.predict)
            columns = [*result, *(column for one in reasons for column in _reason_columns(one, spec, request))]
            outputs.append(_output("prediction_analysis.csv", columns))
        return Reply(msgspec.json.encode(_Answer(model_version, outputs)), JSON_TYPE)


def manual_sample(spec: ModelSpec) -> bytes:
    """A request for the sample row, with reasons where the model has any."""
    data = base64.b64encode(sample_csv(spec)).decode()
    given = {"ar": can_explain(answer_shape(spec)), "ad": False, "nc": False}
    switches = [{"name": name, "type": "boolean", "data": value} for name, value in given.items()]
    return msgspec.json.encode({"inputs": [{"name": "pr", "type": "csv", "data": data}, *switches]})


def manual_schemas() -> dict[str, Schema]:
    named = object_of(["name", "type", "data"], name=TEXT, type=TEXT, data={"type": ["string", "boolean"]})
    output = object_of(["name", "data"], name=TEXT, data=TEXT)
    return {
        "ManualRequest": object_of(["inputs"], inputs=list_of(named, 1)),
        "ManualReply": object_of(["version", "outputs"], version=TEXT, outputs=list_of(output, 1)),
    }


# --- in -------------------------------------------------------------------------------------------------------------


def _given(members: bytes) -> dict[str, Any]:
    """Name -> checked data. Unknown names are let pass: they are other editions' options."""
    try:
        inputs = _INPUT_LIST.decode(members)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem("malformed_body", f"`inputs` must be a list of name, type and data: {error}.") from None
    given: dict[str, Any] = {}
    for one in inputs:
        if one.name not in _INPUTS:
            continue
        if one.name in given:
            raise Problem("malformed_body", f"`inputs` names {one.name} twice.")
        given[one.name] = _checked(one)
    missing = [name for name, (_, is_required) in _INPUTS.items() if is_required and name not in given]
    if missing:
        raise Problem("malformed_body", f"`inputs` is missing {', '.join(missing)}.")
    return given


def _checked(one: _Input) -> Any:
    kind = _INPUTS[one.name][0]
    if one.type != kind:
        raise Problem("malformed_body", f"The input {one.name} has the type {kind}, not “{one.type[:40]}”.")
    if not isinstance(one.data, _KINDS[kind][0]):
        raise Problem("malformed_body", f"The data of the input {one.name} must be {_KINDS[kind][1]}.")
    return one.data


def _csv_body(text: str) -> bytes:
    """Line ends inside are let pass: some encoders write one every 76 characters."""
    try:
        return base64.b64decode(text.translate(_WITHOUT_LINE_ENDS), validate=True)
    except (binascii.Error, ValueError) as error:  # ValueError: characters beyond ASCII
        raise Problem("malformed_body", f"The data of the input pr is not base64: {error}.") from None


def _leaves_nothing(request: ManualRequest, shape: AnswerShape) -> bool:
    is_class_alone = bool(shape.classes) and not shape.numbers
    has_others = request.appends_inputs or bool(request.lead_column) or not request.omits_row_number
    return is_class_alone and request.omits_class and not has_others


# --- out ------------------------------------------------------------------------------------------------------------

_Column = tuple[str, Sequence[str]]  # header and cells


def _result(prediction: Prediction, spec: ModelSpec, request: ManualRequest) -> list[_Column]:
    shape = answer_shape(spec)
    if not isinstance(prediction, Classification):
        names = (_VALUE,) if shape.has_one_target else shape.targets
        return list(zip(names, map(number_texts, prediction.columns), strict=True))
    columns: list[_Column] = [] if request.omits_class else [(spec.target, prediction.labels(spec))]
    if prediction.probabilities is not None:
        cells = [[f"{value:.6f}" for value in column] for column in prediction.probabilities.T.tolist()]
        columns += zip(spec.classes, cells, strict=True)
    elif prediction.scores is not None:
        columns += zip(shape.number_names, map(number_texts, prediction.scores.T), strict=True)
    return columns


def _with_lead(request: ManualRequest, columns: list[_Column], n_rows: int) -> list[_Column]:
    """The leftmost column: the one that `pc` names, else the row number."""
    if request.lead_column:
        place = _place(request.header, request.lead_column) or 0
        return [(request.lead_column, [row[place] for row in request.rows]), *columns]
    if request.omits_row_number:
        return columns
    return [(_ROW_NUMBER, [str(number) for number in range(1, n_rows + 1)]), *columns]


def _place(header: Sequence[str], name: str) -> int | None:
    """Where the header has the column; its name may be spelt as freely as those of the model's columns."""
    found = Names(header).find(name)
    return None if found is None else list(header).index(found)


def _columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[_Column]:
    return list(zip(header, zip(*rows, strict=True), strict=True))


def _reason_columns(reasons: Reasons, spec: ModelSpec, request: ManualRequest) -> list[_Column]:
    """Three variables that raise what is explained and three that lower it, as `variable:content:contribution`."""
    subject = _subject(reasons, spec)
    place_of = {name: place for place, name in enumerate(request.columns)}
    places = [place_of.get(column.name) for column in spec.columns]
    columns = [column.name for column in spec.columns]
    rows = reasons.contributions.tolist()
    made: list[_Column] = []
    for word, ranks, sign in (("Increase", reasons.raising(), 1), ("Decrease", reasons.lowering(), -1)):
        for rank in range(LISTED):
            if rank >= ranks.shape[1]:
                made.append((f"{word} {subject} {rank + 1}", [""] * len(rows)))
                continue
            cells = []
            for row, column in enumerate(ranks[:, rank].tolist()):
                contribution = rows[row][column]
                if contribution * sign <= 0:
                    cells.append("")
                    continue
                place = places[column]
                content = "" if place is None else request.rows[row][place].strip()
                cells.append(f"{columns[column]}:{content}:{number_text(contribution)}")
            made.append((f"{word} {subject} {rank + 1}", cells))
    return made


def _subject(reasons: Reasons, spec: ModelSpec) -> str:
    """What the contributions are about: a probability or score of one class, the one score, or a value."""
    shape = answer_shape(spec)
    if reasons.class_indexes is None:
        return f"'{shape.numbers or reasons.target or _VALUE}' value"
    classes = set(reasons.class_indexes)
    # rows of different classes have one header: each row's contributions are about its own class
    name = spec.classes[classes.pop()] if len(classes) == 1 else "predicted class"
    return f"'{name}' {'score' if shape.numbers == 'scores' else 'probability'}"


def _output(name: str, columns: Sequence[_Column]) -> _Output:
    records = [[header for header, _ in columns], *zip(*(cells for _, cells in columns), strict=True)]
    text = "".join(csv_line(list(cells)) for cells in records)
    return _Output(name, base64.b64encode(text.encode()).decode())
