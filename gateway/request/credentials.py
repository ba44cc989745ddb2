"""The key a request carries, and whether it is the right one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from contract.api_keys import is_well_formed
from contract.problems import Problem

Headers = Mapping[bytes, bytes]
HeaderLines = Sequence[tuple[bytes, bytes]]

CHALLENGE: Final = ((b"www-authenticate", b'Bearer realm="prediction API"'),)
_NO_KEY: Final = b""
_BLANKS: Final = b" \t"
_OF_ANOTHER_SITE: Final = "A page of another site asks with the key that this browser keeps; send it in x-api-key."

# What makes a browser ask its user; the key is the user name.
BROWSER_CHALLENGE: Final = ((b"www-authenticate", b'Basic realm="prediction API: the key is the user name"'),)


def check_key(
    headers: Headers,
    lines: HeaderLines,
    key_digest: bytes,
    challenge: tuple[tuple[bytes, bytes], ...] = CHALLENGE,
    *,
    is_page: bool = False,
) -> None:
    """Raises `Problem("invalid_key")` unless the request carries the key with that digest.

    The digests are compared also when there is no key, so that the time tells nothing about what was wrong.
    A browser that was given the key for the docs page sends it along wherever a page of another site makes it ask:
    that may show a page to its user, but ask for no prediction.
    """
    key = headers.get(b"x-api-key")
    if key is not None:
        key = key.strip(_BLANKS)  # no part of a field's value (RFC 9110, 5.5)
    else:
        key = _key_of_authorization(headers.get(b"authorization", b""))
        if not is_page and headers.get(b"sec-fetch-site") == b"cross-site" and _is_basic(headers):
            raise Problem("invalid_key", _OF_ANOTHER_SITE, headers=challenge)
    is_right = compare_digest(sha256(key).digest(), key_digest)
    if len(headers) != len(lines) and _contradict(lines):
        raise Problem("invalid_key", "The key's header was sent twice with different values.", headers=challenge)
    if not is_right:
        raise Problem("invalid_key", _what_is_wrong(key), headers=challenge)


def _key_of_authorization(value: bytes) -> bytes:
    """The key of `Bearer <key>`, `Token <key>`, or of `Basic`, where it is the user name."""
    scheme, _, rest = value.strip().partition(b" ")
    rest = rest.strip()
    match scheme.lower():
        case b"bearer" | b"token":
            return rest
        case b"basic":
            try:
                return base64.b64decode(rest, validate=True).partition(b":")[0]
            except binascii.Error:
                return _NO_KEY
    return _NO_KEY


def _is_basic(headers: Headers) -> bool:
    return headers.get(b"authorization", b"").lstrip()[:5].lower() == b"basic"


def _contradict(lines: HeaderLines) -> bool:
    """Whether one of the two headers came twice with different values: then nobody can say which one is meant."""
    for name in (b"x-api-key", b"authorization"):
        if len({value.strip(_BLANKS) for line_name, value in lines if line_name == name}) > 1:
            return True
    return False


def _what_is_wrong(key: bytes) -> str:
    if not key:
        return "The request has no key: send it in the x-api-key header."
    if not is_well_formed(key.decode("latin-1")):
        return "The key is mistyped or incomplete."
    return "The key is wrong, or it was replaced by another one."
