"""What `make lint` finds that no linter looks for."""

from __future__ import annotations

from runtime import lint


def test_a_template_line_that_is_too_long_is_named(tmp_path):
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "page.html").write_text("<p>\n" + "x" * 161 + "\n" + "x" * 160 + "\n")

    assert list(lint.long_template_lines(folder)) == ["templates/page.html:2: 161 characters, at most 160"]


def test_the_templates_here_have_no_such_line():
    assert list(lint.long_template_lines(lint.TEMPLATES)) == []
