"""The servers that the gateway is compared with, each in an environment of its own under `var/bench`."""

from __future__ import annotations

import hashlib
import http.client
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench_models import BenchModel
from benchmarks.load import HERE, Target
from benchmarks.processes import ServerProcess, clean_environment
from contract.model_spec import spec_to_json
from contract.settings import PROJECT_DIR
from runtime.embedded.server import free_port
from runtime.processes import wait_until

ENVIRONMENTS = PROJECT_DIR / "var" / "bench"
SERVERS = HERE / "servers"
ROWS_A_CALL = 32  # of those that join requests
_START_S = 90.0
_INSTALL_S = 600.0


class CannotInstall(Exception):
    """A reference can't be had on this machine. `str()` is why, in one line."""


@dataclass(frozen=True)
class Reference:
    """A running server and the request it understands."""

    name: str
    server: ServerProcess
    target: Target


def environment(requirements: str, *, may_install: bool = True) -> Path:
    """The Python of the environment with these requirements, made on first use. Raises `CannotInstall`."""
    path = HERE / requirements
    fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    folder = ENVIRONMENTS / path.stem
    python, stamp = folder / "bin" / "python", folder / "stamp"
    if stamp.exists() and stamp.read_text() == fingerprint:
        return python
    if not may_install:
        raise CannotInstall("not installed yet; the full `make bench` installs it")
    print(f"Installing {requirements} into an environment of its own ...", flush=True)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(path)],
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_S)
        except subprocess.TimeoutExpired:
            raise CannotInstall(f"installing {requirements} took more than {_INSTALL_S:.0f} s") from None
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"]
            raise CannotInstall(lines[-1].removeprefix("ERROR: "))
    stamp.write_text(fingerprint)
    return python


class References:
    """Starts them, and stops all of them."""

    def __init__(
        self, model: BenchModel, work_dir: Path, *, workers: int, name: str = "references", may_install: bool = True
    ) -> None:
        self._model = model
        self._may_install = may_install
        self._workers = workers
        self._dir = work_dir / name
        self._dir.mkdir(parents=True)
        (self._dir / "model.onnx").write_bytes(model.content)
        (self._dir / "spec.json").write_text(json.dumps(spec_to_json(model.spec)))
        self._variables = clean_environment(
            BENCH_MODEL=str(self._dir / "model.onnx"), BENCH_SPEC=str(self._dir / "spec.json")
        )
        self._running: list[ServerProcess] = []

    def bare(self) -> Reference:
        """uvicorn in the environment of the tests: the same uvloop and httptools as the gateway's."""
        return self._asgi("bare", "bare:app", Path(sys.executable))

    def fastapi_tuned(self) -> Reference:
        return self._asgi("FastAPI, tuned", "fastapi_tuned:app", self._python("requirements.txt"))

    def fastapi_usual(self) -> Reference:
        """As its tutorial starts it: `uvicorn --workers`, access log and all."""
        port = free_port()
        python = self._python("requirements.txt")
        command = ["-m", "uvicorn", "fastapi_usual:app", "--port", str(port), "--workers", str(self._workers)]
        return self._started("FastAPI, usual", [str(python), *command], SERVERS, self._target(port))

    def mlserver(self, *, joins: bool = False) -> Reference:
        """One process, the model in it: its pool of processes costs more than it gives to a model this quick.

        `joins`: with its adaptive batching.
        """
        python = self._python("requirements-mlserver.txt")
        port = free_port()
        folder = self._dir / "mlserver"
        folder.mkdir()
        settings = {
            "host": "127.0.0.1",
            "http_port": port,
            "grpc_port": free_port(),
            "metrics_port": free_port(),
            "parallel_workers": 0,
            "debug": False,
            "metrics_endpoint": None,
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        model: dict[str, object] = {"name": "bench", "implementation": "mlserver_runtime.OnnxRuntime"}
        if joins:
            model |= {"max_batch_size": ROWS_A_CALL, "max_batch_time": 0.005}
        (folder / "model-settings.json").write_text(json.dumps(model))
        (folder / "mlserver_runtime.py").write_bytes((SERVERS / "mlserver_runtime.py").read_bytes())
        target = self._tensor_target(port)
        program = str(python.parent / "mlserver")
        return self._started("MLServer", [program, "start", "."], folder, target)

    def triton(self) -> Reference:
        python, port = self._python("requirements-triton.txt"), free_port()
        width = len(self._model.spec.columns)
        command = [str(python), str(SERVERS / "triton.py"), str(port), str(self._workers), str(width)]
        return self._started("Triton", command, self._dir, self._tensor_target(port))

    def _tensor_target(self, port: int) -> Target:
        values = [self._model.spec.sample[column.name] for column in self._model.spec.columns]
        tensor = {"name": "X", "shape": [1, len(values)], "datatype": "FP32", "data": values}
        body = json.dumps({"inputs": [tensor]}).encode()
        return Target(port, "/v2/models/bench/infer", body, {"content-type": "application/json"})

    def stop(self) -> None:
        for server in self._running:
            server.stop()

    def _python(self, requirements: str) -> Path:
        return environment(requirements, may_install=self._may_install)

    def _asgi(self, name: str, application: str, python: Path) -> Reference:
        port = free_port()
        command = [str(python), str(SERVERS / "launch.py"), application, str(port), str(self._workers)]
        return self._started(name, command, SERVERS, self._target(port))

    def _target(self, port: int) -> Target:
        body = json.dumps({"rows": [self._model.spec.sample]}, separators=(",", ":")).encode()
        return Target(port, "/predict", body, {"content-type": "application/json"})

    def _started(self, name: str, command: Sequence[str], cwd: Path, target: Target) -> Reference:
        variables = self._variables | {"PATH": f"{Path(command[0]).parent}:{self._variables['PATH']}"}
        server = ServerProcess(name, command, cwd=cwd, env=variables, log_dir=self._dir)
        self._running.append(server)
        is_up = wait_until(lambda: not server.is_running or post(target) == 200, _START_S, 0.1)
        if not is_up or not server.is_running:
            raise CannotInstall(f"{name} does not start: {(server.log().strip().splitlines() or ['no output'])[-1]}")
        return Reference(name, server, target)


def post(target: Target) -> int:
    """The status of one request; 0 when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=10)
    try:
        connection.request("POST", target.path, target.body, dict(target.headers))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
