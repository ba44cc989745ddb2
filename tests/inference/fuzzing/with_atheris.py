"""Coverage-guided fuzzing of the body parsers, in an environment of its own: atheris is none of the project's packages.

    python -m venv /tmp/fuzz && /tmp/fuzz/bin/pip install -r requirements-dev.txt atheris
    /tmp/fuzz/bin/python -m tests.inference.fuzzing.with_atheris -max_total_time=300 -max_len=4096 /tmp/fuzz-corpus

What it finds goes into `cases/`, whose files `tests/inference/test_fuzz_cases.py` reads again with every run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["inference.formats", "contract.problems", "inference.table"]):
    from tests.inference.fuzzing.target import predictors, read_body, seeds


def main() -> None:
    folders = [word for word in sys.argv[1:] if not word.startswith("-")]
    if folders:
        Path(folders[0]).mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds()):
            Path(folders[0], f"seed-{number}").write_bytes(seed)
    predictors()
    atheris.Setup(sys.argv, lambda data: read_body(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
