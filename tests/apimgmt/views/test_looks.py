"""What can be said of the looks without a browser: contrast of the tokens, tokens only, and plotly's two ids."""

from __future__ import annotations

import re

import pytest

from console.plotly_finder import FILE_NAME, PACKAGE_DATA
from contract.settings import PROJECT_DIR
from inference.formats.description_codec import BASE_STYLES

STATIC = PROJECT_DIR / "static"
TOKENS = (STATIC / "css" / "tokens.css").read_text()
COLORS = {
    name: (light, dark) for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\);", TOKENS)
} | {name: (value, value) for name, value in re.findall(r"--([\w-]+): (#\w{6});", TOKENS)}
WRITTEN = [
    *((text, ground) for text in ("text", "muted", "accent") for ground in ("bg", "surface", "sunken", "hover")),
    *((tone, "surface") for tone in ("green", "blue", "grey", "red", "amber")),
    *(("text", f"{tone}-soft") for tone in ("green", "blue", "red", "amber", "accent")),
    *((tone, f"{tone}-soft") for tone in ("green", "blue", "red", "amber")),
    ("on-accent", "accent"),
    ("on-accent", "accent-hover"),
    ("on-danger", "danger"),
    ("on-danger", "danger-hover"),
    ("text", "code-bg"),
]
SEEN = [("field-border", "surface"), ("focus", "surface"), ("chart-200", "surface"), ("green-dot", "surface"),
        ("blue-dot", "surface"), ("red-dot", "surface"), ("grey-dot", "surface")]  # fmt: skip


def luminance(color: str) -> float:
    """Relative luminance, WCAG 2."""
    channels = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), WRITTEN)
def test_text_has_a_contrast_of_4_5(text, ground, theme):
    assert contrast(COLORS[text][theme], COLORS[ground][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("mark", "ground"), SEEN)
def test_marks_and_frames_have_a_contrast_of_3(mark, ground, theme):
    assert contrast(COLORS[mark][theme], COLORS[ground][theme]) >= 3


@pytest.mark.parametrize("path", sorted((STATIC / "css").glob("*.css")), ids=lambda path: path.name)
def test_other_style_sheets_use_tokens_not_colours(path):
    if path.name == "tokens.css":
        return

    assert set(re.findall(r"(?<![\w-])#[0-9a-fA-F]{3,8}\b(?=[;\s,)])", path.read_text())) == set()
    assert re.findall(r"var\(--([\w-]+)\)", path.read_text())
    for name in re.findall(r"var\(--([\w-]+)\)", path.read_text()):
        assert f"--{name}:" in TOKENS, name


def test_the_gateways_docs_page_has_the_consoles_styles_in_their_order():
    links = (PROJECT_DIR / "templates" / "apimgmt" / "partials" / "_styles.html").read_text()
    order = re.findall(r"'css/([\w-]+)\.css'", links)

    assert order == ["tokens", *BASE_STYLES, "dialogs"]


@pytest.mark.parametrize("path", sorted((STATIC / "js").glob("*.js")), ids=lambda path: path.name)
def test_scripts_evaluate_no_text_and_know_no_other_host(path):
    code = path.read_text()

    assert not re.search(r"\beval\(|new Function|innerHTML|insertAdjacentHTML|document\.write", code)
    assert "//cdn" not in code
    assert not re.search(r"https?://", code)


def test_plotly_finds_the_ids_that_keep_it_from_injecting_styles():
    """Its bundle makes a style element unless an element with that id is there; the ids change with its version."""
    page = (PROJECT_DIR / "templates" / "apimgmt" / "api.html").read_text()
    bundle = (PACKAGE_DATA / FILE_NAME).read_text()

    injected = re.findall(r'getElementById\("([0-9a-f]{64})"\)\)\{var \w+=document\.createElement\("style"\)', bundle)

    assert injected, "look for how this plotly injects its styles"
    assert all(f'id="{found}"' in page for found in injected)
    assert 'id="plotly.js-style-global" class="no-inline-styles"' in page
