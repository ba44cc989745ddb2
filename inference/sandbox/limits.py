"""What a process takes from itself before it opens a file that a stranger made: memory, time, network, other files.

Through plain Linux system calls, so that it needs no rights and no package. Each protection says whether the kernel
gave it; what is missing is reported by the caller, never assumed (docs/decisions/0031-inspection-child.md).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

from contract.settings import PROJECT_DIR

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38

# Landlock's system calls have the same numbers on every architecture (Linux 5.13).
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
LANDLOCK_VERSION_FLAG, LANDLOCK_RULE_PATH_BENEATH = 1, 1
FS_EXECUTE, FS_READ_FILE, FS_READ_DIR = 1 << 0, 1 << 2, 1 << 3
FS_WRITES_V1 = (1 << 1) | sum(1 << bit for bit in range(4, 13))  # write, remove and make files of every kind
FS_REFER, FS_TRUNCATE = 1 << 13, 1 << 14  # versions 2 and 3
NET_TCP = 0b11  # bind and connect, version 4

OWN_CODE = (PROJECT_DIR / "contract", PROJECT_DIR / "inference")
"""What a confined process may still import of ours: nothing of the installation's data lies there."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_IS_LINUX = sys.platform == "linux"


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("access", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


def die_with_parent() -> None:
    """Be killed when the starting thread ends, so that no inspection outlives the one who asked for it."""
    if _IS_LINUX:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def limit_resources(*, memory_bytes: int, cpu_s: int, file_bytes: int = 0) -> None:
    """Address space, CPU time, and how far a file may be written; no core dump. Soft and hard alike."""
    if _IS_LINUX:  # elsewhere the address space has nothing to do with the memory that is used
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def leave_network() -> bool:
    """Move into an empty network namespace. False where the kernel or a container forbids it."""
    if not _IS_LINUX:
        return False
    if _libc.unshare(CLONE_NEWNET) == 0:
        return True
    return bool(_libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0)


def landlock_version() -> int:
    """0 where the kernel has no Landlock or has it switched off."""
    return max(0, _call(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_VERSION_FLAG)) if _IS_LINUX else 0


def _call(number: int, *arguments: ctypes.Structure | int | None) -> int:
    """A system call without a wrapper in libc; -1 on failure. Structures travel by address."""
    passed = [ctypes.byref(item) if isinstance(item, ctypes.Structure) else item for item in arguments]
    return int(_libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in passed)))


def forbid_writing() -> bool:
    """No file can be written, made or removed any more, and (Linux 6.7) no TCP connection be opened."""
    version = landlock_version()
    rights = FS_WRITES_V1 | (FS_REFER if version >= 2 else 0) | (FS_TRUNCATE if version >= 3 else 0)
    return _restrict(rights, net=NET_TCP if version >= 4 else 0)


def forbid_reading(*, except_under: tuple[Path, ...]) -> bool:
    """No file can be opened any more, and none run, but those at or under the given paths."""
    return _restrict(FS_EXECUTE | FS_READ_FILE | FS_READ_DIR, readable=except_under)


def _restrict(rights: int, *, net: int = 0, readable: tuple[Path, ...] = ()) -> bool:
    """Give up `rights` for this thread and those it will start; `readable` stays open to reading."""
    if not landlock_version():
        return False
    wanted = _Ruleset(rights, net)
    size = ctypes.sizeof(wanted) if net else ctypes.sizeof(ctypes.c_uint64)  # old kernels know the first field only
    ruleset = _call(LANDLOCK_CREATE_RULESET, wanted, size, 0)
    if ruleset < 0:
        return False
    try:
        if not all(_allow_reading(ruleset, path) for path in readable):
            return False
        _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return _call(LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0
    finally:
        os.close(ruleset)


def _allow_reading(ruleset: int, path: Path) -> bool:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = FS_READ_FILE | FS_READ_DIR | FS_EXECUTE if path.is_dir() else FS_READ_FILE
        rule = _PathBeneath(rights, descriptor)
        return _call(LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, rule, 0) == 0
    finally:
        os.close(descriptor)
