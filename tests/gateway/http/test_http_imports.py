"""The HTTP side stands on documented ground: what is imported from uvicorn and httptools is what their manuals name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import httptools
import pytest

PROJECT = Path(__file__).resolve().parents[3]
ROOMS = ("contract", "inference", "gateway", "runtime", "apimgmt", "console")
LIBRARIES = {"uvicorn", "httptools"}

# https://github.com/MagicStack/httptools, the README's "APIs", and the docstrings of its stubs.
DOCUMENTED = {
    "httptools.HttpRequestParser",
    "httptools.HttpRequestParser().feed_data",
    "httptools.HttpRequestParser().get_http_version",
    "httptools.HttpRequestParser().get_method",
    "httptools.HttpRequestParser().should_keep_alive",
    "httptools.HttpParserError",
    "httptools.HttpParserCallbackError",
    "httptools.HttpParserInvalidURLError",
    "httptools.HttpParserUpgrade",
    "httptools.parse_url",
    "httptools.parse_url().path",
}
PARSER_METHODS = {name for name in dir(httptools.HttpRequestParser) if not name.startswith("_")}


def sources() -> Iterator[Path]:
    for room in ROOMS:
        yield from (PROJECT / room).rglob("*.py")


def used(source: Path) -> set[str]:
    """Every name that a file takes from one of the libraries, with the modules it takes it from."""
    names: set[str] = set()
    tree = ast.parse(source.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if "." in alias.name or alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Call):
            names.add(f"{ast.unparse(node.value.func)}().{node.attr}")
        if isinstance(node, ast.Attribute) and node.attr in PARSER_METHODS:  # of a parser in a variable
            names.add(f"httptools.HttpRequestParser().{node.attr}")
    return {name for name in names if name.partition(".")[0] in LIBRARIES}


@pytest.mark.parametrize("source", list(sources()), ids=lambda path: str(path.relative_to(PROJECT)))
def test_only_documented_names_are_used(source: Path) -> None:
    assert used(source) <= DOCUMENTED


def test_the_walk_finds_what_it_looks_for(tmp_path: Path) -> None:
    source = tmp_path / "private.py"
    source.write_text(
        "import httptools\n"
        "import uvicorn.server\n"
        "from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol\n"
        "httptools.parser.parser\n"
        "httptools.HttpRequestParser(None).set_dangerous_leniencies()\n"
    )

    assert used(source) == {
        "uvicorn.server",
        "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol",
        "httptools.parser",
        "httptools.HttpRequestParser",
        "httptools.HttpRequestParser().set_dangerous_leniencies",
    }


def test_what_is_documented_is_there() -> None:
    made = {"HttpRequestParser()": httptools.HttpRequestParser(None), "parse_url()": httptools.parse_url(b"/")}
    for name in DOCUMENTED:
        found: object = httptools
        for part in name.split(".")[1:]:
            found = made[part] if part in made else getattr(found, part)


def test_no_class_of_ours_is_named_like_one_of_uvicorns() -> None:
    theirs = {"HttpToolsProtocol", "RequestResponseCycle", "FlowControl", "ServerState", "Server", "Config"}
    ours = {
        node.name
        for source in (PROJECT / "gateway" / "http").rglob("*.py")
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.ClassDef)
    }

    assert not ours & theirs


def test_the_http_side_knows_nothing_of_what_it_serves() -> None:
    rooms = {"request", "routing", "models", "usage", "db", "processes"}
    for source in (PROJECT / "gateway" / "http").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                parts = node.module.split(".")
                assert parts[0] != "inference"
                assert parts[0] != "gateway" or parts[1] not in rooms, (source, node.module)
