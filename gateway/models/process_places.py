"""How many processes models may have on this machine beyond the first of each in each worker, and who may have them.

The places are file locks, which all workers of the machine share and which a killed worker can't keep.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gateway.models.file_locks import FileLocks


@dataclass(frozen=True)
class Place:
    """One process may run until it is closed."""

    descriptors: tuple[int, ...]

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


@dataclass(frozen=True)
class ProcessPlaces:
    """As many as the machine has cores; half of them for one API, three quarters for one workspace, at least one."""

    run_dir: Path
    n_cores: int

    def take(self, api_id: str, workspace_id: int | None) -> Place | None:
        """None if all are taken, or all that this API or its workspace may have."""
        shares = [(f"api-{api_id}", self.n_cores // 2), ("machine", self.n_cores)]
        if workspace_id is not None:
            shares.insert(1, (f"workspace-{workspace_id}", self.n_cores * 3 // 4))
        taken: list[int] = []
        for name, number in shares:
            descriptor = FileLocks(self.run_dir, f"model-process-{name}", max(1, number)).take()
            if descriptor is None:
                Place(tuple(taken)).close()
                return None
            taken.append(descriptor)
        return Place(tuple(taken))
