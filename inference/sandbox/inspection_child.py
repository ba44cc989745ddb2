"""The process that opens a stranger's model file.

`python -m inference.sandbox.inspection_child FILE MEMORY_BYTES CPU_S [read]`.

It gives up network, writing and memory before it imports anything large, and reading other files before it opens
that one. Then it answers one JSON line per JSON line (`Ask`, `Answer`).
Only `inference.sandbox.inspection` talks to it.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from inference.sandbox import limits


def confine(memory_bytes: int, cpu_s: int) -> list[str]:
    """What can be given up before the imports. Returns what the kernel refused."""
    missing = [] if limits.leave_network() else ["network namespace"]
    limits.die_with_parent()
    limits.limit_resources(memory_bytes=memory_bytes, cpu_s=cpu_s)
    return missing if limits.forbid_writing() else [*missing, "landlock"]


def main() -> None:
    path, memory_bytes, cpu_s = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    missing = confine(memory_bytes, cpu_s)
    # Libraries print to standard output as they like; answers have a descriptor of their own.
    answers = os.dup(1)
    os.dup2(2, 1)

    from inference.sandbox.inspection_messages import READY, decode_ask, encode_answer
    from inference.sandbox.inspector import Inspector

    inspector = Inspector(path, reads_graph="read" in sys.argv[4:])
    # Python and its packages stay readable, because libraries import on first use; nothing of the installation does.
    limits.forbid_reading(except_under=(path, *limits.OWN_CODE, Path(sys.prefix), Path(sys.base_prefix, "lib")))
    os.write(answers, READY)  # what goes wrong from here on is the model's doing
    for line in sys.stdin.buffer:
        started = time.perf_counter()
        answer = inspector.answer(decode_ask(line))
        answer.seconds, answer.missing_limits = time.perf_counter() - started, missing
        os.write(answers, encode_answer(answer) + b"\n")


if __name__ == "__main__":
    main()
