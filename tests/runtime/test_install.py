"""The environment is made once, whole, and again only when what it is made from changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contract.settings import PROJECT_DIR
from runtime import install


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Make's part of a checkout, with requirements that need no download."""
    (tmp_path / "runtime").mkdir()
    shutil.copy(PROJECT_DIR / "Makefile", tmp_path)
    shutil.copy(PROJECT_DIR / "runtime" / "install.py", tmp_path / "runtime")
    for name in ("", "-embedded", "-formats", "-catboost", "-dev", "-clients"):
        (tmp_path / f"requirements{name}.txt").write_text("# nothing\n")
    return tmp_path


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=checkout, capture_output=True, text=True, check=False
    )


@pytest.mark.long
def test_a_second_call_does_nothing_and_a_changed_file_is_installed_again(checkout: Path):
    first = make(checkout, "environment", f"PYTHON={sys.executable}")
    second = make(checkout, "environment")
    (checkout / "requirements.txt").write_text("# still nothing\n")
    third = make(checkout, "environment")

    assert [call.returncode for call in (first, second, third)] == [0, 0, 0], first.stdout + first.stderr
    assert "Making .venv" in first.stdout
    assert "requirements-dev" not in first.stdout
    assert not (checkout / ".venv-clients").exists()
    assert second.stdout == ""
    assert third.stdout.startswith("Installing requirements.txt")
    assert "requirements-embedded" not in third.stdout


@pytest.mark.long
def test_what_the_tests_need_lies_in_two_environments(checkout: Path):
    first = make(checkout, "environment-dev", f"PYTHON={sys.executable}")
    second = make(checkout, "environment-dev")
    (checkout / "requirements-clients.txt").write_text("# still nothing\n")
    third = make(checkout, "environment-dev")

    said = [line for line in first.stdout.splitlines() if not line.startswith("Installed")]
    assert first.returncode == 0, first.stdout + first.stderr
    assert [line.split(" with")[0] for line in said] == [
        "Making .venv",
        "Installing requirements.txt ...",
        "Installing requirements-embedded.txt ...",
        "Installing requirements-dev.txt ...",
        "Installing requirements-catboost.txt ...",
        "Making .venv-clients",
        "Installing requirements-clients.txt ...",
    ]
    assert (checkout / ".venv-clients" / "bin" / "python").exists()
    assert second.stdout == ""
    assert third.stdout.startswith("Installing requirements-clients.txt")


@pytest.mark.long
def test_formats_add_to_the_environment_and_a_changed_file_within_another_counts(checkout: Path):
    make(checkout, "environment", f"PYTHON={sys.executable}")
    (checkout / "requirements-formats.txt").write_text("-r requirements-more.txt\n")
    (checkout / "requirements-more.txt").write_text("# nothing\n")
    first, second = make(checkout, "catboost"), make(checkout, "formats")
    (checkout / "requirements-more.txt").write_text("# still nothing\n")
    third = make(checkout, "formats")

    said = [line for line in first.stdout.splitlines() if not line.startswith("Installed")]
    assert said == ["Installing requirements-formats.txt ...", "Installing requirements-catboost.txt ..."]
    assert second.stdout == ""
    assert third.stdout.startswith("Installing requirements-formats.txt")


@pytest.mark.long
def test_what_was_interrupted_or_broken_is_made_again(checkout: Path):
    venv = checkout / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to("/no/such/python")
    (checkout / "requirements.txt").write_text("no-such-package-of-ours @ file:///no/such/place\n")

    failed = make(checkout, "environment", f"PYTHON={sys.executable}")
    (checkout / "requirements.txt").write_text("# nothing\n")
    again = make(checkout, "environment")

    assert failed.returncode != 0
    assert "Making .venv" in failed.stdout
    assert "requirements.txt can't be installed" in failed.stdout
    assert again.returncode == 0
    assert "Installing requirements.txt" in again.stdout


def test_a_python_that_is_none_is_named(checkout: Path):
    said = make(checkout, "environment", "PYTHON=/no/such/python")

    assert said.returncode != 0
    assert "Python 3.11 or newer is needed, and PYTHON=/no/such/python is not one" in said.stderr


@pytest.mark.parametrize(
    ("own", "others", "chosen"),
    [
        ("3.11 False pip", "3.11 False ensurepip", "other"),
        ("3.11 True ensurepip", "3.11 False ensurepip", "own"),  # says that it is optimised itself
        ("3.11 False ensurepip", "3.12 False ensurepip", "own"),  # another version is another Python
        ("3.11 False ensurepip", "3.11 False none", "own"),  # could make no environment
        ("3.11 False ensurepip", "", "own"),
    ],
)
def test_the_distributions_build_of_the_same_python_is_preferred(tmp_path: Path, monkeypatch, own, others, chosen):
    found = {}
    for name, answer in (("own", own), ("other", others)):
        folder = tmp_path / name
        folder.mkdir()
        found[name] = folder / "python3.11"
        found[name].write_text(f"#!/bin/sh\necho {answer}\n" if answer else "#!/bin/sh\nexit 1\n")
        found[name].chmod(0o755)
    monkeypatch.setattr(install, "OPTIMISED", (str(tmp_path / "none"), str(tmp_path / "other")))

    assert install._fastest(str(found["own"])) == str(found[chosen])


def test_help_lists_the_commands(checkout: Path):
    said = make(checkout).stdout

    assert {line.split()[1] for line in said.splitlines()} == {
        "help",
        "run",
        "formats",
        "catboost",
        "test",
        "drill",
        "bench",
        "lint",
        "fmt",
        "check",
    }
