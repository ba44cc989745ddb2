"""The format of API keys: `pak_`, 43 random base62 characters (256 bits), 6 characters of checksum.

The prefix and the checksum let secret scanners find leaked keys and tell a mistyped key from a revoked one.
The gateway stores and compares SHA-256 digests only; a key is random enough to need no slow hash.
"""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib

PREFIX = "pak_"
RANDOM_LENGTH = 43
CHECKSUM_LENGTH = 6
KEY_LENGTH = len(PREFIX) + RANDOM_LENGTH + CHECKSUM_LENGTH

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ALPHABET_SET = frozenset(_ALPHABET)


def new_key() -> str:
    """A fresh key. The caller shows it once and keeps it encrypted."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(RANDOM_LENGTH))
    return PREFIX + body + _checksum(body)


def is_well_formed(key: str) -> bool:
    """Whether prefix, length, alphabet and checksum are right; false means a typo or no key of ours."""
    if len(key) != KEY_LENGTH or not key.startswith(PREFIX) or not _ALPHABET_SET.issuperset(key[len(PREFIX) :]):
        return False
    body = key[len(PREFIX) : -CHECKSUM_LENGTH]
    return key[-CHECKSUM_LENGTH:] == _checksum(body)


def key_digest(key: str) -> bytes:
    """SHA-256 of the whole key (32 bytes): what the database keeps for the gateway."""
    return hashlib.sha256(key.encode()).digest()


def _checksum(body: str) -> str:
    """CRC-32 in base62, padded: 62**6 is more than 2**32."""
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
