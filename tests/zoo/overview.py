"""The table in README.md: `python -m tests.zoo.overview` writes it, a test holds it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.zoo import catalogue

README = Path(__file__).with_name("README.md")
_BEGIN = "<!-- made by tests/zoo/overview.py -->\n"


def library_of(entry: catalogue.Entry) -> str:
    """Entries name it first, and then the estimator."""
    maker = entry.made.partition(":")[0]
    return maker if maker == "drawn by hand" else maker.partition(" ")[0]


def overview() -> str:
    """What is served, by library and by what it answers with; what is refused, with the field and the reason."""
    entries = {name: catalogue.entry(name) for name in catalogue.ALL}
    refused = {name: entry for name, entry in entries.items() if entry.refused is not None}
    served = [entry for entry in entries.values() if entry.refused is None]
    kinds = sorted({entry.kind for entry in served})
    counts = Counter((library_of(entry), entry.kind) for entry in served)
    lines = [f"{len(entries)} models: {len(entries) - len(refused)} are served, {len(refused)} refused.", ""]
    lines += [
        f"| served, made with | {' | '.join(kinds)} |",
        "|---" * (1 + len(kinds)) + "|",
        *(
            f"| {library} | {' | '.join(str(counts[library, kind] or '') for kind in kinds)} |"
            for library in sorted({library for library, _kind in counts})
        ),
    ]
    lines += ["", "| refused | made from | field | reason |", "|---|---|---|---|"]
    for name, entry in refused.items():
        refusal = entry.refused
        assert refusal is not None
        lines.append(f"| `{name}` | {entry.made} | {refusal.field} | {refusal.code or refusal.words} |")
    return "\n".join(lines) + "\n"


def readme() -> str:
    """The file as it should be: what was written by hand, then the table."""
    by_hand, _mark, _table = README.read_text(encoding="utf-8").partition(_BEGIN)
    return by_hand + _BEGIN + "\n" + overview()


if __name__ == "__main__":
    README.write_text(readme(), encoding="utf-8")
