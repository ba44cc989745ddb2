"""Whether what a model takes is a table, and which input takes which column."""

from __future__ import annotations

from contract.model_spec import InputLayout
from inference.signature import NotServable, Port, Signature


def table_layout(signature: Signature) -> InputLayout:
    """How the model takes rows. Raises `NotServable` naming the first input that is no column and no matrix."""
    if not signature.inputs:
        raise NotServable("This console serves tables: the model takes no input at all.")
    for port in signature.inputs:
        _check_input(port, is_alone=len(signature.inputs) == 1)
    first = signature.inputs[0]
    is_matrix = len(signature.inputs) == 1 and len(first.dims or ()) == 2 and first.width != 1
    return "matrix" if is_matrix else "columns"


def _check_input(port: Port, *, is_alone: bool) -> None:
    start = f"This console serves tables: the input {port.name}"
    if port.dims is None:
        raise NotServable(f"{start} is a {port.type.partition('(')[0]}, not a column.")
    if len(port.dims) not in {1, 2}:
        raise NotServable(f"{start} has {len(port.dims)} dimensions, {port.shape()}; a table has rows and columns.")
    if port.kind == "other":
        raise NotServable(f"{start} takes {port.type}; columns are numbers, yes/no or text.")
    if port.dims[0] not in {None, 1}:  # one row at a time is tried out (`inference.meaning.study`), and told
        raise NotServable(
            f"{start} takes exactly {port.dims[0]} rows at a time, {port.shape()}. "
            "Export the model with an open number of rows (a dynamic first dimension)."
        )
    if len(port.dims) == 2 and port.dims[1] != 1 and not is_alone:
        raise NotServable(
            f"{start} is a matrix {port.shape()} beside other inputs. "
            "Export the model with one input per column, or with one matrix alone."
        )


def port_of(signature: Signature, layout: InputLayout, name: str) -> Port:
    """The input that takes the column of this name."""
    return signature.inputs[0] if layout == "matrix" else {port.name: port for port in signature.inputs}[name]
