"""What all actions on one API have in common. GET asks, POST acts; a refusal is told in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from apimgmt.actors import Actor, actor_of
from apimgmt.errors import NeedsConfirmation, Refused, TransitionRefused
from apimgmt.lifecycle import selectors
from apimgmt.lifecycle.actions import actions_for
from apimgmt.models import Model, PredictionAPI
from apimgmt.views.dialogs import Dialog, ask
from apimgmt.views.layout import View, found_model, get_or_post, signed_in
from apimgmt.views.replies import Notice, done, refused


@dataclass(frozen=True)
class Subject:
    """One request of a person about one model's API."""

    request: HttpRequest
    model: Model
    api: PredictionAPI
    actor: Actor

    @property
    def is_post(self) -> bool:
        return self.request.method == "POST"

    @property
    def is_confirmed(self) -> bool:
        """Whether the person was asked once more and said yes."""
        return "confirmed" in self.request.POST

    def refusal(self, verb: str) -> str:
        """Why this person can't do it now; "" if it is possible."""
        return actions_for(self.api, self.actor)[verb].reason


@dataclass(frozen=True)
class Action:
    """One action: what the dialog says, the call that carries it out, and what is said when it is done.

    `verb` is the action's row in the transition table.
    """

    verb: str
    dialog: Dialog
    perform: Callable[[], object]
    notice: Callable[[], Notice] = Notice


def on_api(view: Callable[[Subject], HttpResponse]) -> View:
    """Find the model and its API; if there is none (never launched, or deleted meanwhile), say so."""

    @wraps(view)
    def found(request: HttpRequest, model_id: int) -> HttpResponse:
        model = found_model(request, model_id)
        api = selectors.current_api(model)
        if api is None:
            return _no_api(request, model)
        return view(Subject(request, model, api, actor_of(request)))

    return found


def action_view(describe: Callable[[Subject], Action]) -> View:
    """Make the view of one action from its description."""

    @wraps(describe)
    def view(subject: Subject) -> HttpResponse:
        action = describe(subject)
        return _act(subject, action) if subject.is_post else _ask(subject, action)

    return signed_in(get_or_post(on_api(view)))


def _no_api(request: HttpRequest, model: Model) -> HttpResponse:
    error = TransitionRefused(_("This model has no API."))
    dialog = Dialog(title=model.name, paragraphs=[], button="").refusing(str(error))
    return refused(request, model, error, dialog)


def _ask(subject: Subject, action: Action) -> HttpResponse:
    reason = subject.refusal(action.verb)
    dialog = action.dialog.refusing(reason) if reason else action.dialog
    return ask(subject.request, subject.model, dialog)


def _act(subject: Subject, action: Action) -> HttpResponse:
    request, model, dialog = subject.request, subject.model, action.dialog
    if _has_wrong_answer(dialog) and not subject.refusal(action.verb):
        return ask(request, model, dialog, status=422)
    try:
        action.perform()
    except NeedsConfirmation as question:
        return ask(request, model, dialog.asking_again(str(question)), status=question.status)
    except Refused as error:
        is_final = error.status == 403 or bool(subject.refusal(action.verb))
        return refused(request, model, error, (dialog.refusing if is_final else dialog.warning)(str(error)))
    return done(request, model, action.notice())


def _has_wrong_answer(dialog: Dialog) -> bool:
    return dialog.form is not None and dialog.form.is_bound and not dialog.form.is_valid()
