"""The APIs of a drill's installation, as their callers know them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DrillApi:
    """One launched API."""

    model_id: int
    model_name: str
    type: str
    id: str
    key: str
    sample: dict[str, Any]

    @property
    def path(self) -> str:
        return f"/apis/{self.id}/predict"

    @property
    def body(self) -> bytes:
        return json.dumps({"rows": [self.sample]}).encode()

    def rows(self, number: int) -> bytes:
        """A body with so many rows."""
        return json.dumps({"rows": [self.sample] * number}).encode()
