"""`python import_all.py PACKAGE ...`: import every module of these packages; says which can't be.

What reads models of other formats may miss its library: that is installed by a command of its own.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import traceback

import django


def main(packages: list[str]) -> int:
    django.setup()
    names = [name for package in packages for name in _modules(package)]
    outcomes = {name: _outcome(name) for name in names}
    failed = [name for name, outcome in outcomes.items() if outcome == "failed"]
    waiting = [name for name, outcome in outcomes.items() if outcome == "needs an extra"]
    sys.stdout.write(f"{len(names)} modules, {len(failed)} failed: {failed}\nneed an extra: {' '.join(waiting)}\n")
    return 1 if failed else 0


def _modules(package: str) -> list[str]:
    paths = importlib.import_module(package).__path__
    found = [module.name for module in pkgutil.walk_packages(paths, f"{package}.")]
    return [package, *(name for name in found if not name.endswith("__main__"))]


def _outcome(name: str) -> str:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name in _extras():
            return "needs an extra"
        traceback.print_exc()
        return "failed"
    except Exception:  # noqa: BLE001  (whatever it is, the others are imported all the same)
        traceback.print_exc()
        return "failed"
    return "imported"


def _extras() -> set[str]:
    formats = importlib.import_module("apimgmt.registry.convertible").FORMATS
    return {module for source in formats for module in source.modules}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
