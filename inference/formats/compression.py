"""Bodies that come compressed. What is inflated is bounded, and looked at before it is believed to be compressed.

Clients that reuse a dict of headers send `Content-Encoding: gzip` along with a body that isn't: such a body is taken as
it is, because none of the formats read here begins like a compressed stream.
"""

from __future__ import annotations

import zlib

from contract.problems import Problem

_KNOWN = {"": "", "identity": "", "gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
_GZIP_MAGIC = b"\x1f\x8b"
_ACCEPTED = ((b"accept-encoding", b"gzip, deflate, identity"),)
_GZIP_WINDOW = 31  # zlib's number for "with gzip's header"
# Beginning a member costs as much as inflating some content, and an empty one has twenty bytes.
_MEMBER_BYTES, _FREE_MEMBERS = 512, 16
_PIECE_BYTES = 16 * 1024


def check_encoding(value: bytes) -> str:
    """The encoding's name, "" for none. Raises `Problem("unsupported_media_type")`."""
    encoding = _KNOWN.get(value.decode("latin-1").strip().lower())
    if encoding is None:
        shown = value.decode("latin-1").strip()[:80]
        raise Problem(
            "unsupported_media_type",
            f"The body is encoded as {shown}; this gateway reads gzip, deflate and unencoded bodies.",
            headers=_ACCEPTED,
        )
    return encoding


def inflated(body: bytes, encoding_header: bytes, limit_bytes: int) -> bytes:
    """The body as it was before it was compressed. Raises `Problem("malformed_body" | "payload_too_large")`."""
    encoding = check_encoding(encoding_header)
    try:
        if encoding == "gzip" and body.startswith(_GZIP_MAGIC):
            return _all_members(body, limit_bytes)
        if encoding == "deflate":
            return _deflated(body, limit_bytes)
    except zlib.error:
        raise Problem("malformed_body", f"The body is not valid {encoding}.") from None
    return body


def _deflated(body: bytes, limit_bytes: int) -> bytes:
    """Officially with zlib's header; some clients leave it out. What can be neither is not compressed."""
    if body.lstrip()[:1] in {b"{", b"["}:
        return body
    content = bytearray()
    inflator = zlib.decompressobj(zlib.MAX_WBITS if _has_zlib_header(body) else -zlib.MAX_WBITS)
    try:
        _stream(inflator, memoryview(body), content, limit_bytes)
    except zlib.error:
        if body.isascii():  # such as CSV
            return body
        raise
    return bytes(content)


def _has_zlib_header(body: bytes) -> bool:
    return len(body) > 2 and body[0] & 0x0F == 8 and body[0] >> 4 <= 7 and (body[0] << 8 | body[1]) % 31 == 0


def _all_members(body: bytes, limit_bytes: int) -> bytes:
    """A gzip file may be several, one after the other."""
    content, rest, n_members = bytearray(), memoryview(body), 0
    while rest[:2] == _GZIP_MAGIC:
        rest = rest[_stream(zlib.decompressobj(_GZIP_WINDOW), rest, content, limit_bytes) :]
        n_members += 1
        if n_members > _FREE_MEMBERS + limit_bytes // _MEMBER_BYTES:
            raise _too_large()
    if bytes(rest).strip(b"\0"):
        raise zlib.error
    return bytes(content)


def _stream(inflator: zlib._Decompress, body: memoryview, content: bytearray, limit_bytes: int) -> int:
    """Append one stream to `content`. Returns how many bytes of the body it has.

    Fed in pieces: zlib copies all that it was given beyond the end of a stream.
    """
    fed = 0
    while fed < len(body) and not inflator.eof:
        piece = body[fed : fed + _PIECE_BYTES]
        content += inflator.decompress(piece, max(limit_bytes - len(content), 0) + 1)
        fed += len(piece)
        if len(content) > limit_bytes:
            raise _too_large()
    if not inflator.eof:
        raise zlib.error
    return fed - len(inflator.unused_data)


def _too_large() -> Problem:
    return Problem("payload_too_large", "The body is too large once it is decompressed.")
