"""The form in which gateways store why a model disturbed them."""

from __future__ import annotations

import pytest

from contract.incidents import IncidentReason, decode_reason, encode_reason


def test_a_reason_is_stored_as_code_and_parameters() -> None:
    stored = encode_reason("time_limit", timeout_s=30.0)

    assert stored == '{"code":"time_limit","params":{"timeout_s":30.0}}'
    assert decode_reason(stored) == IncidentReason("time_limit", {"timeout_s": 30.0})


@pytest.mark.parametrize("stored", ["", "Segmentation fault", "The model took longer than 30 seconds.", "7", "{}"])
def test_a_sentence_of_an_older_gateway_is_no_reason(stored: str) -> None:
    assert decode_reason(stored) is None
