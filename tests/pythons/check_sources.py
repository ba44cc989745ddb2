"""`python check_sources.py FILE ...`: what the Python that runs this can't compile, or can't import of its own library.

It needs the standard library only. An import that is tried, with something else when it fails, may fail.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

# A name that any version the project is made for has, or had, in its library.
_GONE = frozenset({"_md5", "_sha1", "_sha256", "_sha512", "asynchat", "asyncore", "distutils", "imp", "smtpd"})
_LIBRARY = sys.stdlib_module_names | _GONE


def main(paths: list[str]) -> int:
    problems = [problem for path in paths for problem in _problems(Path(path))]
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


def _problems(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(), str(path))
        compile(tree, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        yield f"{path}:{error.lineno}: {error.msg}"
        return
    for node in _certain_imports(tree):
        for module, name in _imported(node):
            if module.partition(".")[0] in _LIBRARY and not _is_there(module, name):
                yield f"{path}:{node.lineno}: {module} {name}".rstrip()


def _certain_imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not (isinstance(node, ast.Try) and any(_catches_import_error(handler) for handler in node.handlers)):
            yield from _certain_imports(node)


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    return handler.type is not None and "ImportError" in ast.unparse(handler.type).replace("ModuleNotFound", "Import")


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, "") for alias in node.names)
    elif node.module and not node.level:
        yield from ((node.module, alias.name) for alias in node.names)


def _is_there(module: str, name: str) -> bool:
    try:
        found = importlib.import_module(module)
        if name and name != "*" and not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
