"""Reading Content-Type and Accept."""

from __future__ import annotations

from dataclasses import dataclass

from contract.problems import Problem

_JSON_CHARSETS = {None, "utf-8", "utf8", "us-ascii"}
_READ_CHARACTERS = 1000  # of an Accept header; browsers send two hundred, and thirty thousand take a tenth of a second


@dataclass(frozen=True, slots=True)
class MediaType:
    """A content type in lower case. `charset` is None where it isn't said."""

    name: str
    charset: str | None = None


def content_type(value: str) -> MediaType:
    """Anything is read as something: an unknown name is refused by whoever looks for a codec."""
    name, *parameters = value.split(";")
    charset = None
    for parameter in parameters:
        key, _, text = parameter.partition("=")
        if key.strip().lower() == "charset":
            charset = text.strip().strip("\"'").lower() or None
    return MediaType(name.strip().lower(), charset)


def check_json_charset(media: MediaType) -> None:
    """Raises `Problem("unsupported_media_type")`."""
    if media.charset not in _JSON_CHARSETS:
        raise Problem("unsupported_media_type", f"JSON is UTF-8 (RFC 8259), not {str(media.charset)[:80]}.")


def prefers(accept: str, wanted: str, over: str) -> bool:
    """Whether an Accept header likes `wanted` better than `over`. Says no when it doesn't care."""
    accept = accept[:_READ_CHARACTERS]
    return _quality(accept, wanted) > _quality(accept, over)


def _quality(accept: str, name: str) -> float:
    """The q of the most specific range that covers the media type, 0 where none does (RFC 9110, 12.5.1)."""
    ranges = {name: 2, f"{name.partition('/')[0]}/*": 1, "*/*": 0}
    best, quality = -1, 0.0
    for item in accept.split(","):
        media, *parameters = (part.strip().lower() for part in item.split(";"))
        if ranges.get(media, -1) > best:
            best, quality = ranges[media], _q(parameters)
    return quality


def _q(parameters: list[str]) -> float:
    for parameter in parameters:
        key, _, text = parameter.partition("=")
        if key.strip() == "q":
            try:
                return min(max(float(text), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
