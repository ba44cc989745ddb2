"""The machine and the versions a result belongs to; nothing that names the machine or its places."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

import psutil

from benchmarks.load import PROJECT_DIR, client_name

_PACKAGES = ("uvicorn", "uvloop", "httptools", "msgspec", "numpy", "onnxruntime", "psycopg")


def describe_machine() -> dict[str, str]:
    """What to know before comparing the figures with others."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return {
        "Processor": f"{_processor()}, {os.cpu_count()} cores",
        "Memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "System": f"{platform.system()} {platform.release().partition('-')[0]}, {platform.machine()}",
        "Load before (1, 5, 15 minutes)": load,
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Packages": ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES),
        "Load client": client_name(),
        "Commit": _commit(),
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", path.read_text()) if path.exists() else None
    return named[1] if named else platform.processor() or platform.machine()


def _commit() -> str:
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=PROJECT_DIR, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "unknown"
