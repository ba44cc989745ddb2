"""Plain curl: the example of every format, from a file, plain and compressed, with each way to give the key."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
from pathlib import Path

import pandas as pd

from inference.formats import FORMATS
from tests.clients.test_description import spec_of
from tests.live.conftest import LiveApi
from tests.live.test_life import until


def curl(*arguments: str | Path) -> tuple[int, str, bytes]:
    """Status, content type and body."""
    asked = ["curl", "--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code} %{content_type}"]
    done = subprocess.run([*asked, *arguments], capture_output=True, check=True)
    body, _, told = done.stdout.rpartition(b"\n")
    status, _, content_type = told.decode().partition(" ")
    return int(status), content_type, body


def test_every_format_s_example(api: LiveApi, tmp_path: Path) -> None:
    keys = [["-H", f"x-api-key: {api.key}"], ["-u", f"{api.key}:"], ["-H", f"Authorization: Bearer {api.key}"]]
    for number, one in enumerate(FORMATS):
        sample = one.sample(spec_of(api))
        (tmp_path / "body").write_bytes(sample)
        (tmp_path / "body.gz").write_bytes(gzip.compress(sample))
        address = f"{api.base}/{one.path.format(model=api.id)}"
        common = [address, *keys[number % 3], "-H", f"content-type: {one.media_type}"]

        plain = curl(*common, "--data-binary", f"@{tmp_path}/body")
        squeezed = curl(*common, "-H", "content-encoding: gzip", "--data-binary", f"@{tmp_path}/body.gz")
        chunked = curl(*common, "-H", "transfer-encoding: chunked", "--data-binary", f"@{tmp_path}/body")
        patient = curl(*common, "-H", "expect: 100-continue", "--data-binary", f"@{tmp_path}/body")
        denied = curl(address, "-d", "{}")

        assert plain[0] == 200, (one.title, plain)
        assert plain == squeezed == chunked == patient, one.title
        assert denied[0] == 401
        if plain[1] == "application/json":
            json.loads(plain[2])
    count = len(FORMATS)
    assert until(lambda: api.status()["requests"] == {"200": 4 * count, "4xx": count, "5xx": 0})


def test_pandas_reads_every_csv_answer_by_its_header(api: LiveApi) -> None:
    frame = pd.DataFrame([api.sample] * 3)
    spec = spec_of(api)
    for text in (frame.to_csv(index=False), frame.to_csv(index=False, sep=";", decimal=","), frame.to_csv(sep="\t")):
        for charset in ("utf-8", "utf-8-sig", "cp932", "utf-16"):
            reply = api.call(content=text.encode(charset), headers={"content-type": "text/csv"})
            table = pd.read_csv(io.BytesIO(reply.content))
            assert list(table.columns) == ["prediction", *(f"probability_{name}" for name in spec.classes)]
            assert len(table) == 3
            (expected,) = api.call().json()["predictions"]
            assert table.loc[2, "prediction"] == expected.get("class", expected.get("value"))
