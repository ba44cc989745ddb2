"""`python import_all.py PACKAGE ...`: import every module of these packages; says which can't be."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import traceback

import django


def main(packages: list[str]) -> int:
    django.setup()
    names = [name for package in packages for name in _modules(package)]
    failed = [name for name in names if not _is_imported(name)]
    sys.stdout.write(f"{len(names)} modules, {len(failed)} failed: {failed}\n")
    return 1 if failed else 0


def _modules(package: str) -> list[str]:
    paths = importlib.import_module(package).__path__
    found = [module.name for module in pkgutil.walk_packages(paths, f"{package}.")]
    return [package, *(name for name in found if not name.endswith("__main__"))]


def _is_imported(name: str) -> bool:
    try:
        importlib.import_module(name)
    except Exception:  # noqa: BLE001  (whatever it is, the others are imported all the same)
        traceback.print_exc()
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
