"""Make one complete description of a model from its graph, its metadata file and a sample CSV.

What the owner states wins where the graph allows it, then what the sample shows, then what the graph tells. Every
value remembers where it came from, because the page shows that before it is saved.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import msgspec
from django.utils.translation import gettext as _

from apimgmt.registry.metadata import DescriptionRefused, Metadata, StatedColumn, is_of_type
from apimgmt.registry.sample_table import Known, Learnt, learn_columns
from contract.model_spec import Cell, Column, ColumnType, InputLayout, ModelSpec
from inference.inputs import port_of, table_layout
from inference.names import Names
from inference.signature import InputCategories, Kind, Port, Signature

# Which columns an input of a kind can carry, the usual one first. A float input carries whole numbers and yes/no too.
CARRIED: dict[Kind, tuple[ColumnType, ...]] = {
    "float": ("float", "int", "bool"),
    "int": ("int", "bool"),
    "string": ("string",),
    "bool": ("bool",),
    "other": (),
}


@dataclass(frozen=True)
class Description:
    """A complete spec, and where each part came from (`column NAME` for a column).

    `unproven`: columns whose nullability still has to be tried out; those in `stated_nullable` must prove it.
    """

    spec: ModelSpec
    sources: dict[str, str]
    unproven: tuple[str, ...]
    stated_nullable: tuple[str, ...]
    learnt: Learnt | None = None


@dataclass
class _Maker:
    signature: Signature
    metadata: Metadata
    learnt: Learnt | None
    target: str
    faults: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)


def describe(
    signature: Signature, metadata: Metadata | None = None, sample_csv: bytes | None = None, target: str | None = None
) -> Description:
    """Columns, layout, target and sample; task, classes and meaning have to be tried out (`registry.meaning`).

    Raises `DescriptionRefused` for what contradicts, and `NotServable` for a graph that is no table model.
    """
    stated = metadata or Metadata()
    layout = _layout(signature, stated)
    predicted = stated.target or target
    learnt = None
    if sample_csv is not None:
        learnt = learn_columns(sample_csv, target=target or stated.target, known=_known(signature, stated, layout))
    made = _Maker(signature, stated, learnt, predicted or "prediction")
    made.sources["target"] = stated.origin_of("target") if stated.target else _("as given") if target else _("default")
    columns, unproven = _columns(made, layout)
    if made.faults:
        raise DescriptionRefused("metadata", made.faults)
    sample = _sample(made, columns)
    if made.faults:
        raise DescriptionRefused("metadata" if stated.sample else "sample", made.faults)
    spec = ModelSpec(
        task="regression",
        target=made.target,
        columns=columns,
        input=layout,
        sample=sample,
        score=stated.score,
        description=stated.description,
    )
    stated_nullable = tuple(column.name for column in columns if column.nullable)
    return Description(spec, made.sources, unproven, stated_nullable, learnt)


def with_nullable(description: Description, names: tuple[str, ...]) -> Description:
    """The description after trying out which columns may be missing. Raises `DescriptionRefused`."""
    if wrong := [name for name in description.stated_nullable if name not in names]:
        words = _("column %s: it can't be missing (nullable), the model gives no usable prediction without it.")
        raise DescriptionRefused("metadata", [words % name for name in wrong])
    columns = tuple(
        msgspec.structs.replace(c, nullable=True) if c.name in names else c for c in description.spec.columns
    )
    sources = dict(description.sources)
    for name in description.unproven:
        sources[f"column {name}"] += "; " + (
            _("may be missing: tried out") if name in names else _("must be there: tried out")
        )
    return replace(description, spec=msgspec.structs.replace(description.spec, columns=columns), sources=sources)


# Each word of origin is looked up when it is used, so that it is in the reader's language.
def _sample_csv() -> str:
    return _("sample CSV")


def _model_file() -> str:
    return _("model file")


def _layout(signature: Signature, stated: Metadata) -> InputLayout:
    found = table_layout(signature)
    if stated.input is None or stated.input == found:
        return found
    if len(signature.inputs) == 1 and (signature.inputs[0].dims or ())[1:] == (1,):
        return stated.input  # one [n, 1] input is a column and a matrix of one column alike
    taken = _("one matrix") if found == "matrix" else _("one input per column")
    words = {"stated": stated.input, "taken": taken}
    raise DescriptionRefused("metadata", [_("input: the metadata says %(stated)s, the graph takes %(taken)s.") % words])


def _known(signature: Signature, stated: Metadata, layout: InputLayout) -> Known:
    """What is known of the columns before a sample is read."""
    texts = frozenset(port.name for port in signature.inputs if port.kind == "string")
    if layout == "matrix":
        names = tuple(column.name for column in stated.columns or ())
        return Known(names, as_text=None if texts else frozenset())
    listed = {one.input: frozenset(map(str, one.values)) for one in signature.categories if one.position == 0}
    return Known(tuple(port.name for port in signature.inputs), texts, listed)


# --- columns ----------------------------------------------------------------------------------------------------------


def _columns(made: _Maker, layout: InputLayout) -> tuple[tuple[Column, ...], tuple[str, ...]]:
    stated = {column.name: column for column in made.metadata.columns or ()}
    learnt = {column.name: column for column in made.learnt.columns} if made.learnt else {}
    names = _matrix_names(made) if layout == "matrix" else _input_names(made, stated, learnt)
    columns, unproven = [], []
    for position, name in enumerate(names):
        port = port_of(made.signature, layout, name)
        listed = _listed_by_graph(made.signature, port, position if layout == "matrix" else 0)
        column = _column(made, port.kind, stated.get(name), learnt.get(name), listed, name=name)
        if column is None:
            continue
        columns.append(column)
        if _may_be_nullable(made, column, stated.get(name), learnt.get(name), layout=layout):
            unproven.append(name)
    return tuple(columns), tuple(unproven)


def _input_names(made: _Maker, stated: dict[str, StatedColumn], learnt: dict[str, StatedColumn]) -> list[str]:
    """The graph's own names, in its order; whoever lists columns must list all of them."""
    taken = [port.name for port in made.signature.inputs]
    made.sources["columns"] = _model_file()
    if stated:
        _fault(made, _("columns: the graph also takes %s."), [name for name in taken if name not in stated])
        _fault(made, _("columns: the graph does not take %s."), [name for name in stated if name not in taken])
    _refuse_lacking(made, taken)
    return taken


def _refuse_lacking(made: _Maker, names: list[str]) -> None:
    """A sample of other columns teaches nothing about these."""
    if made.learnt is None:
        return
    learnt = {column.name for column in made.learnt.columns}
    if lacking := [name for name in names if name not in learnt]:
        raise DescriptionRefused("sample", [_("The sample lacks columns that the model takes: %s.") % _listed(lacking)])


def _matrix_names(made: _Maker) -> list[str]:
    """A matrix has no names: they come from the metadata, the sample, or are x0, x1 …"""
    width, stated, learnt = made.signature.width, made.metadata.columns, made.learnt
    if stated is not None:
        made.sources["columns"] = made.metadata.origin_of("columns")
        _refuse_lacking(made, [column.name for column in stated])
        if width is not None and len(stated) != width:
            words = {"stated": len(stated), "width": width}
            made.faults.append(_("columns: the metadata has %(stated)d, the graph takes %(width)d.") % words)
        return [column.name for column in stated]
    if learnt is not None:
        made.sources["columns"] = _sample_csv()
        _check_sample_width(made, len(learnt.columns), width)
        return [column.name for column in learnt.columns]
    made.sources["columns"] = _("numbered") if width else _("counted in the graph: check that none is lacking")
    count = width or made.signature.likely_width
    if count is None:
        raise DescriptionRefused(
            "sample",
            [_("The graph leaves the number of columns open. Give a sample CSV, or a metadata file with columns.")],
        )
    return [f"x{position}" for position in range(count)]


def _check_sample_width(made: _Maker, found: int, width: int | None) -> None:
    if width is None or found == width:
        return
    message = _("The sample has %(found)d columns, the model takes %(width)d.") % {"found": found, "width": width}
    if found == width + 1:
        message += " " + _("If one of them is what is predicted, name it as the target.")
    raise DescriptionRefused("sample", [message])


def _listed_by_graph(signature: Signature, port: Port, position: int) -> InputCategories | None:
    """What the graph's own encoders list for a column, if it is of the kind that the column is sent in."""
    for one in signature.categories:
        if (one.input, one.position) == (port.name, position):
            is_text = any(isinstance(value, str) for value in one.values)
            return one if is_text == (port.kind == "string") and port.kind != "bool" else None
    return None


def _column(
    made: _Maker,
    kind: Kind,
    stated: StatedColumn | None,
    learnt: StatedColumn | None,
    listed: InputCategories | None,
    *,
    name: str,
) -> Column | None:
    """One column from up to three sources; None after noting a fault."""
    said, seen = stated or StatedColumn(name), learnt or StatedColumn(name)
    column_type = said.type or _learnt_type(seen, kind) or CARRIED[kind][0]
    words = {"name": name, "carried": _(" or ").join(CARRIED[kind])}
    if said.type is not None and said.type not in CARRIED[kind]:
        message = _("column %(name)s: the metadata says %(type)s, the graph takes %(carried)s.")
        made.faults.append(message % {**words, "type": said.type})
        return None
    if seen.type is not None and not _fits(seen, column_type):
        message = _("column %(name)s: the sample holds %(type)s, the model takes %(carried)s.")
        raise DescriptionRefused("sample", [message % {**words, "type": seen.type}])
    if said.nullable and kind not in {"float", "string"}:
        message = _("column %(name)s: it can't be nullable, the graph takes %(carried)s, which has no missing value.")
        made.faults.append(message % words)
        return None
    made.sources[f"column {name}"] = (
        made.metadata.origin_of("columns") if stated else _sample_csv() if learnt else _model_file()
    )
    is_number = column_type in {"float", "int"}
    categories = _chosen_categories(made, said, seen, listed, column_type)
    is_stated = said.min is not None or said.max is not None
    column = Column(
        name=name,
        type=column_type,
        categories=categories,
        min=_first(said.min, seen.min) if is_number else None,
        max=_first(said.max, seen.max) if is_number else None,
        baseline=_baseline(column_type, categories, _as_listed(_first_cell(said.baseline, seen.baseline), categories)),
        nullable=bool(said.nullable),
        unit=said.unit or None,
        is_closed=categories is not None and listed is not None and not listed.takes_others,
        is_range_known=is_number and _has_known_range(said if is_stated else seen),
    )
    if column.baseline is not None and not is_of_type(column.baseline, column_type):
        made.faults.append(_("column %(name)s: the baseline must be %(type)s.") % {"name": name, "type": column_type})
    return column


def _learnt_type(seen: StatedColumn, kind: Kind) -> ColumnType | None:
    """A sample of whole numbers only is no reason to refuse others that the graph takes."""
    if seen.type not in CARRIED[kind] or (kind == "float" and seen.type == "int"):
        return None
    return seen.type


def _fits(seen: StatedColumn, wanted: ColumnType) -> bool:
    """Whether cells read as one type can be a column of another."""
    return seen.type == wanted or (seen.type == "int" and wanted == "float")


def _has_known_range(column: StatedColumn) -> bool:
    return column.is_range_known and (column.min is not None or column.max is not None)


def _chosen_categories(
    made: _Maker, said: StatedColumn, seen: StatedColumn, listed: InputCategories | None, column_type: ColumnType
) -> tuple[str, ...] | None:
    """The graph's own list where it can't take others; else what the owner states, then the graph's, the sample's."""
    own = tuple(map(str, listed.values)) if listed is not None and column_type != "bool" else None
    known = own or (seen.categories if column_type == "string" else None)
    if said.categories is None or known is None:
        return said.categories or known
    names = Names(known)
    if listed is None or listed.takes_others:
        return tuple(dict.fromkeys(names.find(text) or text for text in said.categories))
    if strange := [text for text in said.categories if names.find(text) is None]:
        words = {"name": said.name, "strange": _listed(strange), "own": _listed(list(known))}
        message = _("column %(name)s: the graph can't take the category %(strange)s; its own are %(own)s.")
        made.faults.append(message % words)
    return known


def _as_listed(value: Cell, categories: tuple[str, ...] | None) -> Cell:
    """A text as its column's categories spell it."""
    if not isinstance(value, str) or not categories:
        return value
    return Names(categories).find(value) or value


def _first_cell(first: Cell, second: Cell) -> Cell:
    return second if first is None else first


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _baseline(kind: ColumnType, categories: tuple[str, ...] | None, known: Cell) -> Cell:
    """The value that stands for "without this column"."""
    if known is not None:
        return float(known) if kind == "float" and isinstance(known, int) and not isinstance(known, bool) else known
    if kind == "string":
        return categories[0] if categories else ""
    return {"bool": False, "int": 0, "float": 0.0}[kind]


def _may_be_nullable(
    made: _Maker, column: Column, stated: StatedColumn | None, learnt: StatedColumn | None, *, layout: InputLayout
) -> bool:
    """Whether it is worth trying out: nobody said, and the sample has gaps or the graph treats missing numbers.

    A graph that does not treat them may still answer, by accident of how it compares; that is no permission. A text
    of which nothing is known is tried too: empty text is all there is to predict with, and it means missing.
    """
    kind = port_of(made.signature, layout, column.name).kind
    if (stated is not None and stated.nullable is not None) or kind not in {"float", "string"}:
        return False
    has_gaps = learnt is not None and bool(learnt.nullable)
    is_unknown_text = kind == "string" and not (_tells_values(stated) or _tells_values(learnt))
    return has_gaps or is_unknown_text or (kind == "float" and made.signature.treats_missing)


def _tells_values(column: StatedColumn | None) -> bool:
    return column is not None and bool(column.categories or column.baseline)


# --- the sample row ---------------------------------------------------------------------------------------------------


def _sample(made: _Maker, columns: tuple[Column, ...]) -> dict[str, Cell]:
    """One valid row: as stated, as the sample's first whole row, or the baselines."""
    stated, learnt = made.metadata.sample, made.learnt
    if stated is not None:
        made.sources["sample"] = made.metadata.origin_of("sample")
        _fault(
            made, _("sample: the model has no column %s."), [n for n in stated if n not in {c.name for c in columns}]
        )
        return {column.name: _stated_cell(made, column, stated) for column in columns}
    if learnt is not None:
        made.sources["sample"] = _sample_csv()
        return {c.name: c.baseline if learnt.sample.get(c.name) is None else learnt.sample[c.name] for c in columns}
    made.sources["sample"] = _("baselines")
    return {column.name: column.baseline for column in columns}


def _stated_cell(made: _Maker, column: Column, row: dict[str, Cell]) -> Cell:
    value = row.get(column.name)
    words = {"name": column.name, "type": column.type}
    if value is None and not column.nullable:
        made.faults.append(
            (
                _("sample: %(name)s is null, and the column is not nullable.")
                if column.name in row
                else _("sample: %(name)s is missing.")
            )
            % words
        )
    elif value is not None and not is_of_type(value, column.type):
        made.faults.append(_("sample: %(name)s must be %(type)s.") % words)
    return _as_listed(value, column.categories)


def _fault(made: _Maker, message: str, names: list[str]) -> None:
    if names:
        made.faults.append(message % _listed(names))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (_(" and %d more") % (len(names) - 10) if len(names) > 10 else "")
