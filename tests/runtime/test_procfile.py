"""The Procfile is read strictly, and the project's own lists what an installation consists of."""

import subprocess
from pathlib import Path

import pytest

from contract.settings import read_settings
from runtime.procfile import BadProcfile, process_environment, read_procfile, shell_command


def test_the_projects_own_processes():
    assert list(read_procfile()) == ["release", "web", "worker", "beat", "gateway"]


def test_a_line_without_a_name_is_named(tmp_path: Path):
    path = tmp_path / "Procfile"
    path.write_text("# comment\n\nweb: run it: now\nnonsense\n")

    with pytest.raises(BadProcfile, match="line 4"):
        read_procfile(path)


def test_a_command_sees_the_installations_values_even_when_they_are_defaults(tmp_path: Path):
    env = read_settings({"VAR_DIR": str(tmp_path / "with blank")})

    said = subprocess.run(
        shell_command('echo "$BIND_ADDRESS $CONSOLE_PORT $GATEWAY_PORT $VAR_DIR"'),
        env=process_environment(env),
        capture_output=True,
        text=True,
        check=True,
    )

    assert said.stdout.strip() == f"127.0.0.1 8000 8080 {tmp_path}/with blank"
