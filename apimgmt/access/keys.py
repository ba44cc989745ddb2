"""Keeping API keys: encrypted for the person who may see them, as a digest for the gateways.

The key's own format is `contract.api_keys`. Ciphers come from KEY_ENCRYPTION_KEYS (Fernet, the first one encrypts).
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils.translation import gettext as _

from apimgmt.errors import Refused
from apimgmt.models import PredictionAPI
from contract.api_keys import key_digest, new_key
from contract.secret_files import key_encryption_keys


@lru_cache(maxsize=1)
def _cipher() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in key_encryption_keys(settings.ENVIRONMENT)])


def fresh_key() -> tuple[str, dict[str, bytes]]:
    """A new key, and the fields of PredictionAPI that keep it."""
    key = new_key()
    return key, {"key_digest": key_digest(key), "key_encrypted": _cipher().encrypt(key.encode())}


def decrypted_key(api: PredictionAPI) -> str:
    """The API's key. Raises Refused when it was erased or the encryption key is another one now."""
    if api.key_encrypted is None:
        raise Refused(_("The API was deleted, and its key with it."))
    try:
        return _cipher().decrypt(bytes(api.key_encrypted)).decode()
    except InvalidToken:
        raise Refused(
            _("The key can't be decrypted: KEY_ENCRYPTION_KEYS has changed. Roll the key to get a new one.")
        ) from None
