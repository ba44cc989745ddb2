"""APIs written straight into the database's tables, as the console would leave them after a launch."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.types.json import Jsonb

from contract.api_keys import key_digest, new_key
from contract.meaning import meaning_to_json
from contract.model_spec import ModelSpec, spec_to_json
from contract.model_store import stored_path
from testkit.graphs import Made

EVERYBODY = ("0.0.0.0/0",)

_TOLD = frozenset({"operating", "stopped", "failed", "building", "deleting"})
"""Targets that are also statuses."""

_Connection = psycopg.Connection[tuple[Any, ...]]


class Seeder:
    """Writes what the console would write, as SQL, and reads what the gateway wrote."""

    def __init__(self, url: str, store_dir: Path) -> None:
        self.url = url
        self.store_dir = store_dir

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def one(self, query: str, *values: Any) -> Any:
        return self.sql(query, *values)[0][0]

    def version(self, made: Made, *, model_id: int | None = None, number: int = 1) -> tuple[int, int]:
        """A stored artefact; returns (model id, version id)."""
        sha256 = self._stored(made)
        with psycopg.connect(self.url) as connection:
            if model_id is None:
                model_id = _insert_model(connection, _insert_workspace(connection), "m")
            return model_id, _insert_version(connection, model_id, made, sha256, number)

    def api(
        self,
        made: Made,
        *,
        trial_of: int | None = None,
        target: str = "operating",
        networks: Sequence[str] = EVERYBODY,
    ) -> Api:
        """An API with its whitelist, and its quota if it is a trial of so many requests."""
        return self.apis(made, 1, trial_of=trial_of, target=target, networks=networks)[0]

    def apis(
        self,
        made: Made,
        number: int,
        *,
        trial_of: int | None = None,
        target: str = "operating",
        networks: Sequence[str] = EVERYBODY,
    ) -> list[Api]:
        """So many of them in one workspace, each with a model of its own, in one transaction."""
        sha256 = self._stored(made)
        apis = []
        with psycopg.connect(self.url) as connection:
            workspace_id = _insert_workspace(connection)
            for index in range(number):
                model_id = _insert_model(connection, workspace_id, f"m{index or ''}")
                version_id = _insert_version(connection, model_id, made, sha256)
                api = Api(self, secrets.token_hex(8), new_key(), version_id, made[0])
                _insert_api(connection, api, model_id, target=target, trial_of=trial_of)
                apis.append(api)
            _insert_networks(connection, [(api.id, network) for api in apis for network in networks])
        return apis

    def _stored(self, made: Made) -> str:
        """The SHA-256 of the file, which is in the store now; a gateway may be reading it for another API."""
        content = made[1]
        sha256 = hashlib.sha256(content).hexdigest()
        path = stored_path(self.store_dir, sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        draft.write_bytes(content)
        draft.replace(path)
        return sha256

    def counts(self, api_id: str) -> tuple[int, int, int]:
        """200, 4xx and 5xx over all days and ledgers."""
        found = self.sql(
            "SELECT coalesce(sum(count_200), 0), coalesce(sum(count_4xx), 0), coalesce(sum(count_5xx), 0)"
            " FROM apimgmt_requeststat WHERE api_id = %s",
            api_id,
        )[0]
        return int(found[0]), int(found[1]), int(found[2])

    def used(self, api_id: str) -> int:
        return int(self.one("SELECT used FROM apimgmt_trialquota WHERE api_id = %s", api_id))

    def workers(self) -> dict[str, tuple[str, int, str]]:
        """id -> (state, applied revision, gone reason)."""
        return {
            row[0]: row[1:]
            for row in self.sql("SELECT id, state, applied_revision, gone_reason FROM apimgmt_gatewayworker")
        }

    @property
    def revision(self) -> int:
        return int(self.one("SELECT revision FROM apimgmt_installation"))


@dataclass
class Api:
    """One API that `Seeder.api` made."""

    rows: Seeder
    id: str
    key: str
    version_id: int
    spec: ModelSpec

    @property
    def path(self) -> str:
        return f"/apis/{self.id}/predict"

    @property
    def body(self) -> bytes:
        return json.dumps({"rows": [self.spec.sample]}).encode()

    @property
    def headers(self) -> dict[str, str]:
        return {"x-api-key": self.key, "content-type": "application/json"}

    def set(self, **columns: Any) -> int:
        """Change columns of the row; returns the revision that gave."""
        names = ", ".join(f"{name} = %s" for name in columns)
        return int(
            self.rows.one(
                f"UPDATE apimgmt_predictionapi SET {names} WHERE id = %s RETURNING revision",  # noqa: S608
                *columns.values(),
                self.id,
            )
        )

    def allow(self, *networks: str) -> None:
        with psycopg.connect(self.rows.url) as connection:
            _insert_networks(connection, [(self.id, network) for network in networks])

    def disallow(self, network: str) -> None:
        self.rows.sql("DELETE FROM apimgmt_whitelistentry WHERE api_id = %s AND network = %s", self.id, network)


def _insert_workspace(connection: _Connection) -> int:
    return _inserted(
        connection,
        "INSERT INTO apimgmt_workspace (name, edition, api_options) VALUES (%s, 'standard', 10000) RETURNING id",
        secrets.token_hex(4),
    )


def _insert_model(connection: _Connection, workspace_id: int, name: str) -> int:
    return _inserted(
        connection,
        "INSERT INTO apimgmt_model (workspace_id, name, created_at, created_by) VALUES (%s, %s, now(), 'seeder')"
        " RETURNING id",
        *(workspace_id, name),
    )


def _insert_version(connection: _Connection, model_id: int, made: Made, sha256: str, number: int = 1) -> int:
    spec, content = made
    meaning = Jsonb(meaning_to_json(spec.meaning)) if spec.meaning is not None else None
    return _inserted(
        connection,
        "INSERT INTO apimgmt_modelversion"
        " (model_id, number, sha256, size_bytes, format, task, spec, meaning, created_at, created_by)"
        " VALUES (%s, %s, %s, %s, 'onnx', %s, %s, %s, now(), 'seeder') RETURNING id",
        *(model_id, number, sha256, len(content), spec.task, Jsonb(spec_to_json(spec)), meaning),
    )


def _insert_api(connection: _Connection, api: Api, model_id: int, *, target: str, trial_of: int | None) -> None:
    if trial_of is not None:
        connection.execute(
            "INSERT INTO apimgmt_trialquota (api_id, request_limit, used) VALUES (%s, %s, 0)", [api.id, trial_of]
        )
    status = target if target in _TOLD else "stopped"
    connection.execute(
        "INSERT INTO apimgmt_predictionapi (id, model_id, type, status, target, is_locked, version_id, key_digest,"
        " revision, status_since, created_at, created_by)"
        " VALUES (%s, %s, %s, %s, %s, false, %s, %s, 0, now(), now(), 'seeder')",
        [
            *(api.id, model_id, "official" if trial_of is None else "trial", status, target, api.version_id),
            key_digest(api.key),
        ],
    )


def _insert_networks(connection: _Connection, pairs: Sequence[tuple[str, str]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO apimgmt_whitelistentry (api_id, network, note, created_at, created_by)"
            " VALUES (%s, %s, '', now(), 'seeder')",
            pairs,
        )


def _inserted(connection: _Connection, statement: LiteralString, *values: Any) -> int:
    """The id of the row that a statement makes."""
    row = connection.execute(statement, values).fetchone()
    if row is None:
        raise RuntimeError("the statement returned nothing")
    return int(row[0])
