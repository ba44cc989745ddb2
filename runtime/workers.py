"""The Procfile's `worker`: two Celery workers, one for builds and one for everything quick, which end together.

Builds may take twenty minutes each. In one worker, sixteen of them would leave no thread to confirm a stop or to look
for lost work. (Queue priorities don't help: they order what waits, and free no thread.)
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import FrameType

from runtime import processes

WORKERS = {"builds": 16, "quick": 8}
"""Queue → how many of its tasks run at once."""

_TICK_S = 0.1
_GRACE_S = 8.0


def command(queue: str, concurrency: int) -> list[str]:
    options = {"--queues": queue, "--hostname": f"{queue}@%h", "--pool": "threads", "--concurrency": str(concurrency)}
    quiet = ["--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
    celery = [sys.executable, "-m", "celery", "--quiet", "--app", "console", "worker"]
    return [*celery, *(word for option in options.items() for word in option), *quiet]


def main() -> int:
    """Run both until one ends or a signal asks to stop. Returns the exit code."""
    environment = os.environ | {"PYTHONWARNINGS": "ignore:You're running the worker"}  # as root, in containers
    die = processes.die_with_parent(signal.SIGKILL)  # their work is found again; half a worker would look healthy
    children = [
        subprocess.Popen(command(queue, concurrency), env=environment, preexec_fn=die)
        for queue, concurrency in WORKERS.items()
    ]
    asked: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    while not asked and all(child.poll() is None for child in children):
        time.sleep(_TICK_S)
    for queue, child in zip(WORKERS, children, strict=True):
        if child.poll() is not None and not asked:
            sys.stderr.write(f"The worker for {queue} has ended ({child.returncode}). The other one is stopped too.\n")
        child.terminate()
    # Asked to stop, builds may go on to their end: whoever asked knows how long. After a death nobody waits.
    return _end(children, grace_s=None if asked else _GRACE_S)


def _end(children: list[subprocess.Popen[bytes]], *, grace_s: float | None) -> int:
    for child in children:
        try:
            child.wait(grace_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    return next((abs(code) for child in children if (code := child.returncode)), 0)


if __name__ == "__main__":
    sys.exit(main())
