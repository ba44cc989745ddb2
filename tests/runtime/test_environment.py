"""Every variable is read once, typed; a bad value is refused by the variable's name."""

import re
from pathlib import Path

import pytest

from contract.settings import PROJECT_DIR, BadSetting, read_settings, variables
from tests.environment import variable_names

BAD_VALUES = [
    ("BIND_ADDRESS", "localhost"),
    ("CONSOLE_PORT", "0"),
    ("CONSOLE_PORT", "eighty"),
    ("GATEWAY_PORT", "70000"),
    ("CONSOLE_URL", "console.example.org"),
    ("GATEWAY_URL", "ftp://example.org"),
    ("POSTGRES_BIN", "/no/such/postgres"),
    ("VALKEY_BIN", "/no/such/valkey-server"),
    ("TRUSTED_PROXIES", "10.0.0.0/33"),
    ("TRUSTED_PROXIES", "10.0.0.1/8"),
    ("TRIAL_REQUEST_LIMIT", "0"),
    ("TRIAL_MAX_ROWS", "many"),
    ("TRIALS_PER_MODEL", "-1"),
    ("MAX_BODY_BYTES", "10"),
    ("GATEWAY_WORKERS", "0"),
    ("GATEWAY_LEASE_S", "1"),
    ("MODEL_MEMORY_MB", "0"),
    ("METRICS_BIND", "9090"),
    ("BUILD_TIMEOUT_S", "1"),
    ("CONFIRM_TIMEOUT_S", "0"),
    ("TIME_ZONE", "Mars/Olympus"),
    ("TIME_ZONE", "/etc"),
    ("DEMO", "perhaps"),
    ("DEBUG", "2"),
    ("SERVING_ENGINE", "abacus"),
]


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_a_bad_value_is_refused_by_its_name_in_one_line(name: str, value: str):
    with pytest.raises(BadSetting) as caught:
        read_settings({name: value})

    assert caught.value.name == name
    assert str(caught.value).startswith(f"{name}='{value}': ")
    assert "\n" not in str(caught.value)


def test_nothing_set_is_a_working_installation_on_loopback():
    env = read_settings({})

    assert (env.bind_address, env.console_port, env.gateway_port) == ("127.0.0.1", 8000, 8080)
    assert (env.console_url, env.gateway_url) == ("http://127.0.0.1:8000", "http://127.0.0.1:8080")
    assert env.uses_embedded_database
    assert env.uses_embedded_broker
    assert (env.trial_request_limit, env.max_body_bytes) == (100, 50_000_000)


def test_an_empty_value_counts_as_unset():
    assert read_settings({"CONSOLE_PORT": " ", "DATABASE_URL": ""}) == read_settings({})


@pytest.mark.parametrize("missing", ["CONSOLE_URL", "GATEWAY_URL"])
def test_listening_to_others_needs_the_public_addresses(missing: str):
    values = {"BIND_ADDRESS": "0.0.0.0", "CONSOLE_URL": "https://a.example", "GATEWAY_URL": "https://b.example"}

    assert read_settings(values).console_url == "https://a.example"
    with pytest.raises(BadSetting, match=f"{missing}=.*BIND_ADDRESS"):
        read_settings({name: value for name, value in values.items() if name != missing})


def test_the_two_ports_must_differ():
    with pytest.raises(BadSetting, match=r"GATEWAY_PORT='8000'.*CONSOLE_PORT"):
        read_settings({"GATEWAY_PORT": "8000"})


def test_the_example_file_lists_every_variable_and_no_other():
    text = (PROJECT_DIR / ".env.example").read_text()

    assert set(re.findall(r"^#([A-Z_]+)=", text, re.MULTILINE)) == set(variable_names())


def test_every_variable_but_free_text_has_a_refused_value_here():
    free_text = {"VAR_DIR", "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "KEY_ENCRYPTION_KEYS", "DEMO_PASSWORD"}

    assert {name for name, _ in BAD_VALUES} | free_text == set(variable_names())


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "settings"
    monkeypatch.setenv("ENV_FILE", str(path))
    return path


def test_a_file_gives_variables_and_the_process_environment_wins(env_file: Path, monkeypatch: pytest.MonkeyPatch):
    env_file.write_text("# ours\n\nexport TRIAL_MAX_ROWS=7\nDEMO_PASSWORD='a # b'\nTIME_ZONE=Europe/Berlin\n")
    monkeypatch.setenv("TIME_ZONE", "Asia/Tokyo")

    env = read_settings()

    assert (env.trial_max_rows, env.demo_password, env.time_zone) == (7, "a # b", "Asia/Tokyo")


def test_a_comment_behind_a_value_is_no_part_of_it(env_file: Path):
    env_file.write_text("TRIAL_MAX_ROWS=7   # rows\nDEMO_PASSWORD=a#b\n")

    assert read_settings().trial_max_rows == 7
    assert read_settings().demo_password == "a#b"


def test_a_line_that_is_no_variable_is_named(env_file: Path):
    env_file.write_text("TRIAL_MAX_ROWS=7\nnonsense\n")

    with pytest.raises(BadSetting, match="settings line 2"):
        variables()


def test_a_named_file_must_exist(env_file: Path):
    with pytest.raises(BadSetting, match="ENV_FILE"):
        variables()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgress://bob:s3cret@host/db"),
        ("REDIS_URL", "http://:s3cret@host"),
        ("KEY_ENCRYPTION_KEYS", "s3cret"),
    ],
)
def test_a_value_that_may_be_a_secret_is_named_but_not_shown(name, value):
    with pytest.raises(BadSetting) as refused:
        read_settings({name: value})

    assert name in str(refused.value)
    assert "s3cret" not in str(refused.value)
