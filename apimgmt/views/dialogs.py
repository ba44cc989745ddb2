"""A dialog: alone for the `<dialog>` of a page with scripts, framed as a page of its own without them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.http import reswap, retarget

from apimgmt.models import Model
from apimgmt.views.layout import Crumb, model_crumbs, render_page, wants_fragment

DIALOG_BODY = "dialog-body"
"""The id of the element that htmx puts a dialog into."""


@dataclass(frozen=True)
class Dialog:
    """A question with one button; the answer goes to the address it was asked at.

    `callout` is a warning or refusal above the text; `fields` are hidden values sent with the answer.
    """

    title: str
    paragraphs: list[str]
    button: str
    tone: str = "primary"
    callout: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    form: forms.Form | None = None
    is_available: bool = True

    def refusing(self, reason: str) -> Dialog:
        """The same with the reason why it can't be done now."""
        return replace(self, callout=reason, is_available=False)

    def warning(self, reason: str) -> Dialog:
        """The same with the reason why this answer was refused; another one may be taken."""
        return replace(self, callout=reason)

    def asking_again(self, question: str) -> Dialog:
        """The same with a warning; this answer carries out what the first one did not."""
        return replace(self, callout=question, fields={**self.fields, "confirmed": "1"}, tone="danger")


def ask(request: HttpRequest, model: Model, dialog: Dialog, *, status: int = 200) -> HttpResponse:
    """Show a dialog."""
    context = {"dialog": dialog, "url": request.path}
    return show_dialog(request, model, "apimgmt/partials/_dialog.html", dialog.title, context, status=status)


def show_dialog(
    request: HttpRequest, model: Model, partial: str, title: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """Show any dialog's partial."""
    content = {**context, "model": model, "is_dialog": wants_fragment(request)}
    if wants_fragment(request):
        response = render(request, partial, content, status=status)
        return reswap(retarget(response, f"#{DIALOG_BODY}"), "innerHTML")
    crumbs = model_crumbs(model, Crumb(title))
    return render_page(
        request,
        "apimgmt/dialog_page.html",
        {**content, "partial": partial, "title": title, "crumbs": crumbs, "section": "models"},
        status=status,
    )
