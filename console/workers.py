"""The Procfile's `worker`: two Celery workers, one for builds and one for everything quick, which end together.

Builds may take twenty minutes each. In one worker, sixteen of them would leave no thread to confirm a stop or to look
for lost work. (Queue priorities don't help: they order what waits, and free no thread.)
Both are forked from one process that has everything imported, so that two start as fast as one.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
import warnings
from multiprocessing.context import ForkProcess
from types import FrameType

from console.celery import app
from contract.parent_death import die_with_parent

WORKERS = {"builds": 16, "quick": 8}
"""Queue → how many of its tasks run at once."""

_TICK_S = 0.1
_GRACE_S = 8.0


def arguments(queue: str, concurrency: int) -> list[str]:
    """What `celery worker` is given."""
    options = {"--queues": queue, "--hostname": f"{queue}@%h", "--pool": "threads", "--concurrency": str(concurrency)}
    quiet = ["--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
    return ["--quiet", "worker", *(word for option in options.items() for word in option), *quiet]


def main() -> int:
    """Run both until one ends or a signal asks to stop. Returns the exit code."""
    warnings.filterwarnings("ignore", message="You're running the worker")  # as root, in containers
    app.loader.import_default_modules()
    children = [_start(queue, concurrency) for queue, concurrency in WORKERS.items()]
    asked: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    while not asked and all(child.is_alive() for child in children):
        time.sleep(_TICK_S)
    for child in children:
        if not child.is_alive() and not asked:
            sys.stderr.write(f"The worker for {child.name} has ended ({child.exitcode}). The other one stops too.\n")
        child.terminate()
    # Asked to stop, builds may go on to their end: whoever asked knows how long. After a death nobody waits.
    return _end(children, grace_s=None if asked else _GRACE_S)


def _start(queue: str, concurrency: int) -> ForkProcess:
    # Work of a killed worker is found again; half of the two would look healthy and is not.
    arrange_death = die_with_parent(signal.SIGKILL)

    def run() -> None:
        if arrange_death is not None:
            arrange_death()
        app.worker_main(arguments(queue, concurrency))

    child = multiprocessing.get_context("fork").Process(target=run, name=queue)
    child.start()
    return child


def _end(children: list[ForkProcess], *, grace_s: float | None) -> int:
    for child in children:
        child.join(grace_s)
        if child.is_alive():
            child.kill()
            child.join()
    return next((abs(code) for child in children if (code := child.exitcode)), 0)


if __name__ == "__main__":
    sys.exit(main())
