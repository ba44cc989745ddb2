"""`python -m runtime`: the whole installation in the foreground, as `make run` starts it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from contract.settings import BadSetting, read_settings
from runtime.preflight import StartRefused
from runtime.procfile import PROCFILE, BadProcfile, read_procfile
from runtime.programs import EmbeddedError
from runtime.supervisor import Supervisor


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m runtime", description="Run the installation in the foreground.")
    parser.add_argument("--procfile", type=Path, default=PROCFILE, help="what to run (default: %(default)s)")
    try:
        return Supervisor(read_settings(), read_procfile(parser.parse_args().procfile)).run()
    except (BadSetting, BadProcfile, StartRefused, EmbeddedError) as error:
        print(f"Cannot start: {error}", file=sys.stderr)  # noqa: T201
        return 1


if __name__ == "__main__":
    sys.exit(main())
