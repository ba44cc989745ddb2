"""Make the zoo again: `python -m tests.zoo.make [NAME ...]`, in an environment with `tests/zoo/requirements.txt`.

Writes `models/NAME.onnx`, or with the ending of another format, and `models/NAME.json`. The same versions give the
same numbers again.
"""

from __future__ import annotations

import sys
import traceback
import warnings

from tests.zoo import make_boosted, make_drawn, make_formats, make_sklearn, make_torch  # noqa: F401  (each adds its entries)
from tests.zoo.making import MAKERS, MODELS, seeded, write


def main(names: list[str]) -> int:
    warnings.simplefilter("ignore")
    MODELS.mkdir(exist_ok=True)
    failed = 0
    for name in names or MAKERS:
        seeded()
        try:
            size = write(name, MAKERS[name]())
        except Exception:  # noqa: BLE001  (each entry stands alone: the others are made all the same)
            failed += 1
            sys.stderr.write(f"{name}: not made\n{traceback.format_exc(limit=-3)}\n")
            continue
        sys.stdout.write(f"{size / 1000:8.1f} kB  {name}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
