"""Refusals as formats word them."""

from __future__ import annotations

from contract.problems import Problem, RowError

_FAULTS_SHOWN = 5


def one_line(problem: Problem) -> str:
    """For formats whose errors are one text: our code, what happened, the first faults."""
    return " ".join([f"{problem.kind.code}: {problem.detail}", *map(_fault, problem.errors[:_FAULTS_SHOWN])])


def _fault(fault: RowError) -> str:
    place = f"Row {fault.row}, {fault.column}" if fault.column else f"Row {fault.row}"
    nearest = f" (nearest: {fault.nearest})" if fault.nearest else ""
    return f"{place}: expected {fault.expected}, received {fault.received}{nearest}."


def too_many_rows(n_rows: int, limit: int) -> Problem:
    """What a trial answers to more rows than it takes."""
    return Problem("invalid_rows", f"The request has {n_rows} rows; a trial takes at most {limit} a request.")
