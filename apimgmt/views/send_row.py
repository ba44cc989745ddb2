"""*Send this row now*: call the API with its sample row and show the answer."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from apimgmt.actors import actor_of
from apimgmt.calling.sample_call import send_sample_row
from apimgmt.errors import Refused
from apimgmt.lifecycle import selectors
from apimgmt.models import Model
from apimgmt.views.api_page.page import ApiPage
from apimgmt.views.layout import found_model, see_other, signed_in, wants_fragment
from apimgmt.views.replies import Notice, parts_reply, tab_address
from apimgmt.views.sample_reply import ShownReply, keep_reply, shown_reply
from apimgmt.views.tab import render_tab


@signed_in
@require_POST
def send_row(request: HttpRequest, model_id: int) -> HttpResponse:
    model = found_model(request, model_id)
    try:
        reply = _send(request, model)
    except Refused as error:
        return _not_sent(request, model, error)
    if wants_fragment(request):
        return render(request, "apimgmt/partials/_reply.html", {"reply": reply})
    keep_reply(request, model, reply)
    return see_other(f"{tab_address(model)}#send-reply")


def _send(request: HttpRequest, model: Model) -> ShownReply:
    """Raises `Refused`."""
    api = selectors.current_api(model)
    if api is None:
        raise Refused(_("This model has no API."))
    return shown_reply(send_sample_row(api, actor=actor_of(request)))


def _not_sent(request: HttpRequest, model: Model, error: Refused) -> HttpResponse:
    """The tab with the reason: nothing was asked that a dialog could ask again."""
    notice, page = Notice(str(error), "error"), ApiPage(request, model)
    if wants_fragment(request):
        return parts_reply(request, page, notice, status=error.status)
    return render_tab(request, page, refusal=notice, status=error.status)
