"""What this worker obeys: one immutable Route per API and revision, and the table of them.

A request keeps the Route it came in under. When its answer is ready it looks whether the table still holds that very
object; if not, the new one decides. So applying a change is one assignment, and it holds for requests in flight.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec
import structlog

from contract.charsets import DEFAULTS
from contract.slugs import slug
from gateway.db.statements.routes import RouteRead, RouteRow
from gateway.models.loaded_model import Demand, LoadedModel, Version
from gateway.routing.whitelist import Whitelist
from gateway.usage.trial_quota import TrialAccount

OPERATING: Final = "operating"
DELETED: Final = "deleted"

# What a target that serves nothing answers; an unknown word serves nothing either.
_REFUSALS: Final = {
    "building": "api_building",
    "stopped": "api_stopped",
    "failed": "api_failed",
    "deleting": "api_deleting",
}
_LOADS_MODELS: Final = frozenset({"operating", "building"})

_NOBODYS_DIGEST: Final = b"\0" * 32

_log = structlog.get_logger("gateway.routing.routes")


_NO_MEANING = msgspec.Raw(b"null")


class _VersionRow(msgspec.Struct):
    """One element of the view's `versions`. The spec is decoded where the model is loaded."""

    version_id: int
    number: int
    sha256: str
    format: str
    spec: msgspec.Raw
    meaning: msgspec.Raw = _NO_MEANING
    csv_charset: str = ""
    """Of the API, not of the version: it travels here because the view's columns are a contract."""
    workspace_id: int | None = None
    """Likewise. None: an older console's view doesn't tell."""


class ApiState:
    """What outlives the revisions of one API: its loaded models, requests in progress, figures, its trial's account."""

    __slots__ = ("account", "answers", "in_progress", "models")

    def __init__(self) -> None:
        self.in_progress = 0
        self.answers: dict[int, int] = defaultdict(int)
        self.account: TrialAccount | None = None
        self.models: dict[int, LoadedModel] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """How requests to one API are answered. `refusal`: the code every request gets, "" while operating.

    `name`: what a path may call the model instead of the API ID, "" for none.
    `csv_default`: the charset of a CSV that is no UTF-8 and names none, "" where it is recognised.
    """

    api_id: str
    revision: int
    target: str
    is_trial: bool
    key_digest: bytes
    whitelist: Whitelist
    refusal: str
    version: Version | None
    candidate: Version | None
    version_lines: bytes
    number: str
    name: str
    hides_schema: bool
    has_public_description: bool
    csv_default: str
    workspace_id: int | None
    state: ApiState

    @property
    def demand(self) -> Demand:
        """What must be in memory while this route stands: the served version, and the one that is to take over."""
        versions = (self.version, self.candidate) if self.target in _LOADS_MODELS else ()
        return Demand(
            self.api_id,
            self.revision,
            self.state.models,
            wanted=tuple(version for version in versions if version is not None),
            served=None if self.refusal else self.version,
            workspace_id=self.workspace_id,
        )


AccountMaker = Callable[[str, int, int], TrialAccount]


class RouteTable:
    """All routes this worker obeys, and the (epoch, revision) they belong to."""

    def __init__(self, make_account: AccountMaker, on_restored: Callable[[], None] = lambda: None) -> None:
        """`on_restored` is called before routes of a restored database are applied: it is not the same any more."""
        self.epoch: UUID | None = None
        self.revision = -1
        self._make_account = make_account
        self._on_restored = on_restored
        self._routes: dict[str, Route] = {}
        self.get = self._routes.get

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes.values())

    def __len__(self) -> int:
        return len(self._routes)

    def is_behind(self, epoch: UUID, revision: int) -> bool:
        return epoch != self.epoch or revision != self.revision

    def needs_full_read(self, epoch: UUID, revision: int) -> bool:
        """Nothing was read yet, or the database was restored."""
        return self.epoch is None or self._is_restored(epoch, revision)

    def _is_restored(self, epoch: UUID, revision: int) -> bool:
        """Another epoch, or a lower number of the same one: our numbers mean nothing in this database."""
        return self.epoch is not None and (epoch != self.epoch or revision < self.revision)

    def apply(self, read: RouteRead, *, is_full: bool) -> list[Demand]:
        """Obey what was read, from now on. Returns the models that changed routes need."""
        demands: list[Demand] = []
        if is_full:
            present = {row.api_id for row in read.rows}
            demands += [self._remove(api_id) for api_id in list(self._routes) if api_id not in present]
        is_restored = self._is_restored(read.epoch, read.revision)
        if is_restored:
            self._on_restored()
        for row in read.rows:
            demands += self._apply_row(row, is_restored=is_restored)
        self.epoch, self.revision = read.epoch, read.revision
        return demands

    def _apply_row(self, row: RouteRow, *, is_restored: bool) -> list[Demand]:
        old = self._routes.get(row.api_id)
        if row.target == DELETED:
            return [self._remove(row.api_id)] if old else []
        if old is not None and is_restored:
            old.state.account = None  # a restored trial may have quota again
        # Also when the row's revision is the old one's: a restored database gives the same numbers out again.
        new = self._routes[row.api_id] = self._route(row, old)
        return [new.demand]

    def _remove(self, api_id: str) -> Demand:
        route = self._routes.pop(api_id)
        return Demand(api_id, route.revision, route.state.models)

    def _route(self, row: RouteRow, old: Route | None) -> Route:
        found = _version_rows(row)
        versions = _versions(found)
        version = versions.get(row.version_id)
        number = str(version.number) if version else ""
        return Route(
            api_id=row.api_id,
            revision=row.revision,
            target=row.target,
            is_trial=row.type == "trial",
            key_digest=row.key_digest or _NOBODYS_DIGEST,
            whitelist=_whitelist(row, old),
            refusal="" if row.target == OPERATING else _REFUSALS.get(row.target, "api_failed"),
            version=version,
            candidate=versions.get(row.candidate_id) if row.candidate_id is not None else None,
            version_lines=b"x-model-version: %b\r\n" % number.encode(),
            number=number,
            name=slug(row.model_name),
            hides_schema=row.hides_schema,
            has_public_description=row.has_public_description,
            csv_default=_csv_default(found),
            workspace_id=next((item.workspace_id for item in found), None),
            state=self._state(row, old),
        )

    def _state(self, row: RouteRow, old: Route | None) -> ApiState:
        state = old.state if old else ApiState()
        if row.type != "trial":
            state.account = None
        elif state.account is None:
            state.account = self._make_account(row.api_id, row.quota_limit or 0, row.quota_used or 0)
        else:
            state.account.limit = row.quota_limit or 0
        return state


def _whitelist(row: RouteRow, old: Route | None) -> Whitelist:
    """The old matcher with its memory, if the networks are the same."""
    if old is not None and list(old.whitelist.networks) == row.networks:
        return old.whitelist
    whitelist = Whitelist(row.networks)
    if whitelist.unreadable:
        _log.error("whitelist_entries_unreadable", api_id=row.api_id, entries=whitelist.unreadable[:10])
    return whitelist


def _version_rows(row: RouteRow) -> list[_VersionRow]:
    """The versions named in the row. Where they can't be read there are none, so it harms no other API."""
    try:
        return msgspec.json.decode(row.versions or "[]", type=list[_VersionRow])
    except msgspec.DecodeError as error:
        _log.error("versions_unreadable", api_id=row.api_id, error=str(error))
        return []


def _csv_default(found: list[_VersionRow]) -> str:
    """One that this gateway doesn't know is none."""
    return next((item.csv_charset for item in found if item.csv_charset in DEFAULTS), "")


def _versions(found: list[_VersionRow]) -> dict[int, Version]:
    return {
        item.version_id: Version(
            item.version_id, item.number, item.sha256, item.format, bytes(item.spec), bytes(item.meaning)
        )
        for item in found
    }
