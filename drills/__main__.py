"""`python -m drills [--short] [NAME ...]`: the fault drills and their table; non-zero when a promise was broken."""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from pathlib import Path

from drills.catalogue import DRILLS
from drills.report import Report, Scale, remarks, table
from drills.testbed import Testbed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m drills", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(DRILLS)}; all without")
    parser.add_argument("--short", action="store_true", help="the form that the tests run")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in DRILLS]
    if unknown:
        parser.error(f"there is no drill {', '.join(unknown)}. There are: {', '.join(DRILLS)}")
    with tempfile.TemporaryDirectory(prefix="drills-") as folder:
        reports = _run(Path(folder), given.names or list(DRILLS), Scale(is_long=not given.short))
    print(table(reports))
    print(remarks(reports))
    return 1 if any(report.broken for report in reports) else 0


def _run(folder: Path, names: list[str], scale: Scale) -> list[Report]:
    testbed = Testbed(folder)
    reports = []
    try:
        testbed.start()
        for name in names:
            report = Report(name)
            reports.append(report)
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                DRILLS[name](testbed, report, scale)
            except Exception as error:  # noqa: BLE001  (the other drills are run all the same)
                traceback.print_exc()
                report.broken.append(f"the drill itself failed: {type(error).__name__}: {str(error)[:300]}")
    finally:
        testbed.stop()
    return reports


if __name__ == "__main__":
    sys.exit(main())
