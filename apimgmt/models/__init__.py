"""The tables. What must never be false is a constraint here or in the migrations, not only a check in Python."""

from __future__ import annotations

from apimgmt.models.apis import (
    API_ID_ALPHABET,
    API_ID_LENGTH,
    ApiType,
    PredictionAPI,
    Status,
    Target,
    WhitelistEntry,
    new_api_id,
)
from apimgmt.models.builds import Build, BuildKind, Outcome
from apimgmt.models.counts import InputWarning, Ledger, RequestStat, TrialQuota, TrialUse
from apimgmt.models.gateways import GatewayIncident, GatewayWorker, Installation, ModelLoad
from apimgmt.models.history import ApiEvent, Receipt
from apimgmt.models.registry import Model, ModelVersion
from apimgmt.models.workspaces import Edition, Workspace

__all__ = [
    "API_ID_ALPHABET",
    "API_ID_LENGTH",
    "ApiEvent",
    "ApiType",
    "Build",
    "BuildKind",
    "Edition",
    "GatewayIncident",
    "GatewayWorker",
    "InputWarning",
    "Installation",
    "Ledger",
    "Model",
    "ModelLoad",
    "ModelVersion",
    "Outcome",
    "PredictionAPI",
    "Receipt",
    "RequestStat",
    "Status",
    "Target",
    "TrialQuota",
    "TrialUse",
    "WhitelistEntry",
    "Workspace",
    "new_api_id",
]
