"""Secrets are made once, for their owner's eyes."""

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from contract.secret_files import kept_secret, key_encryption_keys, secret_key
from contract.settings import PROJECT_DIR, Settings, read_settings


@pytest.fixture
def env(tmp_path: Path) -> Settings:
    return read_settings({"VAR_DIR": str(tmp_path / "var")})


def test_a_secret_is_made_on_first_use_and_kept(env: Settings):
    first = secret_key(env)

    assert len(first) >= 50
    assert secret_key(env) == first
    assert (env.secrets_dir / "secret_key").stat().st_mode & 0o777 == 0o600
    assert env.secrets_dir.stat().st_mode & 0o777 == 0o700


def test_the_made_encryption_key_is_one_that_fernet_takes(env: Settings):
    (key,) = key_encryption_keys(env)

    assert Fernet(key).decrypt(Fernet(key).encrypt(b"pak_")) == b"pak_"
    assert key_encryption_keys(env) == (key,)


def test_the_environment_wins_and_nothing_is_written(tmp_path: Path):
    new, old = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    given = {"VAR_DIR": str(tmp_path / "var"), "SECRET_KEY": "given", "KEY_ENCRYPTION_KEYS": f"{new}, {old}"}
    env = read_settings(given)

    assert secret_key(env) == "given"
    assert key_encryption_keys(env) == (new, old)
    assert not env.secrets_dir.exists()


def test_processes_that_come_at_once_get_the_same_secret(env: Settings):
    code = f"""
from contract.settings import read_settings
from contract.secret_files import secret_key
print(secret_key(read_settings({{"VAR_DIR": {str(env.var_dir)!r}}})))
"""

    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]

    assert len({process.communicate()[0] for process in started}) == 1
    assert {process.returncode for process in started} == {0}
    assert [path.name for path in env.secrets_dir.iterdir()] == ["secret_key"]


def test_an_empty_file_is_not_taken_for_a_secret(tmp_path: Path):
    (tmp_path / "secret_key").touch()

    with pytest.raises(ValueError, match="is empty"):
        kept_secret(tmp_path / "secret_key", lambda: "x")
