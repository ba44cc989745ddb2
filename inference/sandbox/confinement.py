"""What a child process may have, and how it gives up the rest before it opens a stranger's file.

In two steps: network, writing, memory and time before anything large is imported; reading other files after it, because
the imports read them. docs/decisions/0031-inspection-child.md says what happens where the kernel refuses one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import msgspec

from inference.sandbox import limits

# The libraries take 150 MB of address space. A graph is held up to four times while it is read: the file's bytes, its
# parsed form, ONNX Runtime's, and the optimised one.
BASE_MEMORY_BYTES: Final = 1 << 30
MEMORY_PER_FILE_BYTE: Final = 6

_LONGEST_CPU_S: Final = 24 * 3600  # the parent's clock ends what takes too long; this is for a parent that can't


class Confinement(msgspec.Struct, frozen=True, kw_only=True):
    """What one child may have. `readable` is a file or a folder; Python and our own code it may read as well.

    `reads_itself`: and what the kernel tells of the child's own process, for libraries that look at their own parts.
    `file_bytes`: how far it may write into a file that it was handed open; it can't open one for writing.
    """

    readable: str
    reads_itself: bool = False
    memory_bytes: int
    cpu_s: int = _LONGEST_CPU_S
    file_bytes: int = 0
    niceness: int = 0


def memory_for(path: Path) -> int:
    """Bytes of address space in which the model at `path` can be loaded."""
    size = path.stat().st_size if path.exists() else 0
    return BASE_MEMORY_BYTES + MEMORY_PER_FILE_BYTE * size


def confine_before_imports(confinement: Confinement) -> list[str]:
    """Give up network, writing, memory and time. Returns what the kernel refused to take."""
    os.nice(confinement.niceness)
    refused = [] if limits.leave_network() else ["network"]
    limits.limit_resources(
        memory_bytes=confinement.memory_bytes, cpu_s=confinement.cpu_s, file_bytes=confinement.file_bytes
    )
    return refused if limits.forbid_writing() else [*refused, "writing"]


def confine_before_work(confinement: Confinement) -> list[str]:
    """Give up reading. Python and its packages stay readable, because libraries import on first use."""
    may_read = (Path(confinement.readable), *limits.OWN_CODE, Path(sys.prefix), Path(sys.base_prefix, "lib"))
    own = (Path("/proc/self"),) if confinement.reads_itself else ()
    return [] if limits.forbid_reading(except_under=(*may_read, *own)) else ["reading"]
