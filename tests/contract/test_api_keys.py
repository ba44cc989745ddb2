"""The format of API keys."""

from __future__ import annotations

import hashlib

import pytest

from contract.api_keys import KEY_LENGTH, is_well_formed, key_digest, new_key


def test_new_keys_are_well_formed_and_different() -> None:
    keys = {new_key() for _ in range(200)}

    assert len(keys) == 200
    assert all(is_well_formed(key) and key.startswith("pak_") and len(key) == KEY_LENGTH for key in keys)


def test_one_mistyped_character_is_found() -> None:
    key = new_key()

    for position in range(len(key)):
        replacement = "x" if key[position] != "x" else "y"
        assert not is_well_formed(key[:position] + replacement + key[position + 1 :])


@pytest.mark.parametrize("text", ["", "pak_", "pak_" + "a" * 49, "sk-" + "a" * 50, "pak_" + "é" * 49, "\x00"])
def test_other_texts_are_not_well_formed(text: str) -> None:
    assert not is_well_formed(text)


def test_digest_is_sha256_of_the_whole_key() -> None:
    key = new_key()

    assert key_digest(key) == hashlib.sha256(key.encode()).digest()
