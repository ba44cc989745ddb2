"""How long registering a demo model takes, from its file to the saved version.

`.venv/bin/python -m runtime.testing --exec .venv/bin/python -m benchmarks.registering`, on a database of its own.
In process: inspecting in the confined child, the probe rows, and saving, as the page and the command do it. The
command: the same with the start of its Python and Django. Wall-clock seconds.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from contract.settings import PROJECT_DIR
from testkit.live_installation import LiveInstallation, fresh_variables

_MODELS = ("breast_cancer", "penguins", "diabetes")
_ROUNDS, _COMMANDS = 15, 3


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        installation = LiveInstallation(fresh_variables(dict(os.environ), Path(folder)))
        try:
            _measure(installation)
        finally:
            installation.close()


def _measure(installation: LiveInstallation) -> None:
    os.environ |= installation.process_env | {"DJANGO_SETTINGS_MODULE": "console.settings"}
    import django

    django.setup()
    from django.db import connection

    from apimgmt.actors import shell_actor
    from apimgmt.models import Workspace
    from apimgmt.registry.registration import register_model

    workspace = Workspace.objects.create(name="Bench")
    print("| model | columns | probe rows | in process, median | longest | the whole command, median |")
    print("|---|---|---|---|---|---|")
    for stem in _MODELS:
        path = PROJECT_DIR / "demo" / "models" / f"{stem}.onnx"
        seconds = []
        for _ in range(_ROUNDS):
            begun = time.perf_counter()
            registered = register_model(workspace, stem, path, actor=shell_actor(None))
            seconds.append(time.perf_counter() - begun)
        commands = []
        for _ in range(_COMMANDS):
            begun = time.perf_counter()
            installation.manage("register_model", str(path), "--name", stem, "--workspace", "Bench")
            commands.append(time.perf_counter() - begun)
        cells = [
            stem,
            str(len(registered.version.described().columns)),
            str(registered.findings.n_rows),
            f"{statistics.median(seconds):.2f} s",
            f"{max(seconds):.2f} s",
            f"{statistics.median(commands):.2f} s",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)
    connection.close()


if __name__ == "__main__":
    main()
