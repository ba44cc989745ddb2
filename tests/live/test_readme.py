"""The README's section *Your own model in 3 minutes*, executed block by block as it stands there."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

from contract.settings import PROJECT_DIR


def blocks(section: str) -> list[tuple[str, str]]:
    """(language, text) of each fenced block of one section of the README."""
    readme = (PROJECT_DIR / "README.md").read_text()
    text = readme.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL)


def test_your_own_model_in_three_minutes(running, tmp_path: Path):
    steps = blocks("Your own model in 3 minutes")
    program = next(text for language, text in steps if language == "python")
    shell = [text for language, text in steps if language == "bash"]
    (tmp_path / "my-model").mkdir()
    (tmp_path / "my-model" / "train.py").write_text(program)
    script = "set -euo pipefail\n" + "\n".join(shell)
    script = re.sub(r"^pip install .*$", "", script, flags=re.MULTILINE)  # this environment has them
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    done = running.run("bash", "-c", script, HOME=str(tmp_path), PATH=path)

    printed = next(text for language, text in reversed(steps) if language == "").strip().splitlines()
    answered = done.stdout.strip().splitlines()[-len(printed) :]
    assert answered[0] == printed[0]  # the last digit of a probability may differ between processors
    assert [line.split(",")[0] for line in answered] == [line.split(",")[0] for line in printed]
    launched = json.loads((tmp_path / "my-model" / "api.json").read_text())
    assert launched["status"] == "operating"


def test_every_file_that_the_readme_points_to_exists():
    readme = (PROJECT_DIR / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)\)", readme)

    assert links
    missing = [link for link in links if "://" not in link and not (PROJECT_DIR / link).exists()]
    assert missing == []
