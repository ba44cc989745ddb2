"""What `make test` gives its processes."""

from __future__ import annotations

import os
import subprocess
import sys

from contract.settings import PROJECT_DIR


def test_they_keep_what_python_compiled_though_the_shell_says_no() -> None:
    ask = "import sys; print(sys.dont_write_bytecode)"
    variables = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}

    said = subprocess.run(
        [sys.executable, "-m", "runtime.testing", "--exec", sys.executable, "-c", ask],
        cwd=PROJECT_DIR,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (said.returncode, said.stdout) == (0, "False\n"), said.stderr
