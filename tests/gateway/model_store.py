"""A model store with files, for tests of what loads and runs them without a database."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from contract.model_spec import ModelSpec
from contract.model_store import stored_path
from gateway.models.loaded_model import Version
from inference.sandbox.prediction_messages import ModelRef, Predict

Made = tuple[ModelSpec, bytes]

JSON = {b"content-type": b"application/json"}


def stored_version(store_dir: Path, made: Made, number: int = 1) -> Version:
    """A version whose id is its number."""
    spec, content = made
    sha256 = hashlib.sha256(content).hexdigest()
    path = stored_path(store_dir, sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Version(number, number, sha256, "onnx", msgspec.json.encode(spec))


def stored_model(store_dir: Path, made: Made) -> ModelRef:
    version = stored_version(store_dir, made)
    path = stored_path(store_dir, version.sha256)
    return ModelRef(version.version_id, str(path), version.format, version.described_json)


def predict_request(model: ModelRef, body: bytes | None, *, headers: dict[bytes, bytes] | None = None) -> Predict:
    return Predict(
        model,
        "predict",
        JSON if headers is None else headers,
        "1",
        body,
        needs_approval=False,
        max_body_bytes=10_000_000,
    )
