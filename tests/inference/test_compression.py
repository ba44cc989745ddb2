"""Compressed bodies: bounded by their inflated size, and only believed to be compressed when they look it."""

from __future__ import annotations

import gzip
import random
import zlib

import pytest

from contract.problems import Problem
from inference.formats import inflated

BODY = b'{"rows": [{"a": 1}]}' * 50
LIMIT = len(BODY)


def raw_deflate(body: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-15)
    return squeezer.compress(body) + squeezer.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"gzip", gzip.compress(BODY, mtime=0)),
        (b"x-gzip", gzip.compress(BODY, mtime=0)),
        (b" GZip ", gzip.compress(BODY[:100], mtime=0) + gzip.compress(BODY[100:], mtime=0) + b"\0\0"),
        (b"deflate", zlib.compress(BODY)),
        (b"deflate", raw_deflate(BODY)),
        (b"gzip", BODY),  # a header that is left over from an earlier request
        (b"deflate", BODY),
        (b"identity", BODY),
        (b"", BODY),
    ],
)
def test_a_body_is_what_it_was_before(encoding: bytes, body: bytes) -> None:
    assert inflated(body, encoding, LIMIT) == BODY


def test_csv_under_a_stale_header_is_taken_as_it_is() -> None:
    for encoding in (b"gzip", b"deflate"):
        assert inflated(b"island,sex\nDream,male\n", encoding, LIMIT) == b"island,sex\nDream,male\n"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"gzip", gzip.compress(BODY, mtime=0)[:-9]),
        (b"gzip", gzip.compress(BODY, mtime=0) + b"more"),
        (b"gzip", b"\x1f\x8b"),
        (b"gzip", gzip.compress(BODY, mtime=0)[:20] + b"\xff" * 30),
        (b"deflate", zlib.compress(BODY)[:-3]),
        (b"deflate", b"\xff\xfe\xfd"),
        (b"deflate", b"\x78\x9c"),
    ],
)
def test_what_is_broken_is_malformed(encoding: bytes, body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        inflated(body, encoding, LIMIT)
    assert caught.value.kind.code == "malformed_body"


@pytest.mark.parametrize("squeeze", [gzip.compress, zlib.compress, raw_deflate])
def test_the_limit_is_of_the_inflated_size(squeeze) -> None:  # type: ignore[no-untyped-def]
    encoding = b"gzip" if squeeze is gzip.compress else b"deflate"
    bomb = squeeze(b"0" * 50_000_000)

    with pytest.raises(Problem) as caught:
        inflated(bomb, encoding, LIMIT)
    assert caught.value.kind.code == "payload_too_large"


def test_many_members_share_the_limit() -> None:
    with pytest.raises(Problem) as caught:
        inflated(gzip.compress(BODY[:600], mtime=0) * 2, b"gzip", LIMIT)
    assert caught.value.kind.code == "payload_too_large"


def test_members_without_content_count_too() -> None:
    """An empty one has twenty bytes: 64 KB of them would take the event loop for milliseconds."""
    few, many = gzip.compress(b"", mtime=0) * 10, gzip.compress(b"", mtime=0) * 3000

    assert inflated(few + gzip.compress(BODY, mtime=0), b"gzip", LIMIT) == BODY
    with pytest.raises(Problem) as caught:
        inflated(many, b"gzip", LIMIT)
    assert caught.value.kind.code == "payload_too_large"


def test_a_stream_is_fed_in_pieces_and_comes_out_whole() -> None:
    noise = random.Random(3).randbytes(200_000)

    for squeezed, encoding in ((gzip.compress(noise), b"gzip"), (zlib.compress(noise), b"deflate")):
        assert inflated(squeezed, encoding, len(noise)) == noise
        with pytest.raises(Problem) as caught:
            inflated(squeezed, encoding, len(noise) - 1)
        assert caught.value.kind.code == "payload_too_large"
    assert inflated(gzip.compress(noise) + gzip.compress(noise), b"gzip", 400_000) == noise + noise
