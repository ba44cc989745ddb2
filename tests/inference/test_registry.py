"""Which codec a request gets, from its path and headers alone."""

from __future__ import annotations

import pytest

from contract.problems import Problem
from inference.formats import choose, predicts


def name(content_type: str, **others: str) -> str:
    headers = {b"content-type": content_type.encode()}
    headers |= {key.replace("_", "-").encode(): value.encode() for key, value in others.items()}
    return choose("predict", headers).name


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", "native-json"),
        ("Application/JSON; Charset=UTF-8", "native-json"),
        ('application/json;charset="utf-8"', "native-json"),
        ("text/csv", "native-csv"),
        (" TEXT/CSV ; header=present; charset=utf-8", "native-csv"),
        ("text/csv; charset=", "native-csv"),
    ],
)
def test_the_content_type_chooses_whatever_its_case_and_parameters(content_type: str, expected: str) -> None:
    assert name(content_type) == expected
    assert name(content_type, content_encoding="identity") == expected


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "Content-Type is missing; this path reads application/json and text/csv"),
        ({b"content-type": b""}, "is missing"),
        ({b"content-type": b"application/x-www-form-urlencoded"}, "is application/x-www-form-urlencoded"),
        ({b"content-type": b"text/plain"}, "is text/plain"),
        ({b"content-type": b"application/json, text/csv"}, "this path reads"),
        ({b"content-type": b"\xff\xfe" * 300}, "this path reads"),
        ({b"content-type": b"application/json; charset=utf-16"}, "JSON is UTF-8"),
        ({b"content-type": b"text/csv; charset=zip"}, "charset zip is not supported; supported are utf-8"),
        ({b"content-type": b"application/json", b"content-encoding": b"br"}, "encoded as br"),
        ({b"content-type": b"text/csv", b"content-encoding": b"gzip, identity"}, "encoded as gzip, identity"),
    ],
)
def test_what_no_codec_reads_is_415(headers: dict[bytes, bytes], words: str) -> None:
    with pytest.raises(Problem) as caught:
        choose("predict", headers)

    assert caught.value.kind.status == 415
    assert words in caught.value.detail


def test_a_415_tells_what_would_be_read() -> None:
    with pytest.raises(Problem) as caught:
        choose("predict", {})

    assert caught.value.headers == ((b"accept-post", b"application/json, text/csv"),)


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", True),
        ("Application/Json;q=0.1", True),
        ("text/csv, application/json", False),
        ("text/csv;q=0.5, application/json", True),
        ("text/csv, application/json;q=0.9", False),
        ("application/*, */*;q=0.8", True),
        ("*/*, text/csv;q=0", True),
        ("application/json;q=0, */*", False),
        ("image/png", False),
        ("application/json;q=lots", False),
        (",;,q=;;", False),
    ],
)
def test_accept_chooses_the_answer_to_csv(accept: str, is_json: bool) -> None:
    request_format = choose("predict", {b"content-type": b"text/csv", b"accept": accept.encode()})

    assert getattr(request_format, "answers_json") is is_json  # noqa: B009  # not part of the protocol


def test_only_predicting_paths_predict() -> None:
    assert predicts("predict")
    assert predicts("invocations")
    assert predicts("v2/models/m/infer")
    assert predicts("v2/models/m/versions/1/infer")
    assert predicts("v1/models/m:predict")
    assert predicts("v1/models/m:explain")
    for path in (
        "",
        "predict/",
        "v2",
        "v2/models/m",
        "v2/models//infer",
        "v1/models/m",
        "v1/models/m:x",
        "docs",
        "ping",
    ):
        assert not predicts(path), path
    with pytest.raises(Problem) as caught:
        choose("nowhere", {b"content-type": b"text/csv"})
    assert caught.value.kind.code == "unknown_path"
