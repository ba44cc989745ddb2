"""Checks that no linter does: templates compile and their lines are short, compiled translations match their source."""

from __future__ import annotations

import gettext
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import django
from django.template import TemplateSyntaxError
from django.template.loader import get_template

from contract.settings import PROJECT_DIR

TEMPLATES = PROJECT_DIR / "templates"
MAX_TEMPLATE_LINE = 160


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    django.setup()
    problems = [*_broken_templates(), *long_template_lines(TEMPLATES), *_stale_translations()]
    for problem in problems:
        print(problem, file=sys.stderr)  # noqa: T201
    return 1 if problems else 0


def _broken_templates() -> Iterator[str]:
    for path in _files_of(TEMPLATES):
        name = path.relative_to(TEMPLATES).as_posix()
        try:
            get_template(name)
        except TemplateSyntaxError as error:
            yield f"templates/{name}: {error}"


def long_template_lines(root: Path) -> Iterator[str]:
    """Django's tags can't be broken over lines, so a template may be wider than code."""
    for path in _files_of(root):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if len(line) > MAX_TEMPLATE_LINE:
                yield f"{path.relative_to(root.parent)}:{number}: {len(line)} characters, at most {MAX_TEMPLATE_LINE}"


def _files_of(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def _stale_translations() -> Iterator[str]:
    sources = sorted((PROJECT_DIR / "locale").rglob("*.po"))
    if sources and not shutil.which("msgfmt"):
        print("msgfmt (gettext) is not installed: compiled translations were NOT compared.", file=sys.stderr)  # noqa: T201
        return
    for source in sources:
        compiled = source.with_suffix(".mo")
        if not compiled.exists() or _catalogue(compiled) != _catalogue_of_source(source):
            yield f"{compiled.relative_to(PROJECT_DIR)} does not match its .po: run `manage.py compilemessages`"


def _catalogue_of_source(source: Path) -> dict[object, str]:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.mo"
        subprocess.run(["msgfmt", "--check-format", "-o", str(made), str(source)], check=True)
        return _catalogue(made)


def _catalogue(path: Path) -> dict[object, str]:
    """What a .mo file says; the bytes differ between versions of msgfmt."""
    with path.open("rb") as file:
        return dict(vars(gettext.GNUTranslations(file))["_catalog"])


if __name__ == "__main__":
    sys.exit(main())
