"""How the parts of an installation find its servers."""

from pathlib import Path

import pytest

from contract.connections import (
    NotRunning,
    broker_url,
    database_url,
    embedded_file,
    forget_embedded_urls,
    write_embedded_urls,
)
from contract.settings import Settings, read_settings


@pytest.fixture
def env(tmp_path: Path) -> Settings:
    return read_settings({"VAR_DIR": str(tmp_path / "var")})


def test_the_environment_wins(tmp_path: Path):
    env = read_settings({"VAR_DIR": str(tmp_path), "DATABASE_URL": "postgres://a/b", "REDIS_URL": "redis://c/1"})
    write_embedded_urls(env, {"database_url": "postgres://x/y", "redis_url": "redis://z/1"})

    assert (database_url(env), broker_url(env)) == ("postgres://a/b", "redis://c/1")


def test_what_the_supervisor_wrote_is_found_and_private(env: Settings):
    write_embedded_urls(env, {"database_url": "postgres://x/y", "redis_url": "redis://z/1"})

    assert (database_url(env), broker_url(env)) == ("postgres://x/y", "redis://z/1")
    assert embedded_file(env).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("find", "variable"), [(database_url, "DATABASE_URL"), (broker_url, "REDIS_URL")])
def test_no_server_is_one_clear_line(env: Settings, find, variable: str):
    write_embedded_urls(env, {"database_url": "postgres://x/y", "redis_url": "redis://z/1"})
    forget_embedded_urls(env)

    with pytest.raises(NotRunning, match=f"{variable} is not set .* `make run`") as caught:
        find(env)
    assert "\n" not in str(caught.value)
