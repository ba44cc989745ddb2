"""`manage.py new_epoch`: after a restore nothing is confirmed by what gateways read before."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from apimgmt.lifecycle.confirmation import confirmation_of
from apimgmt.models import Installation
from tests.factories import catch_up, make_worker

pytestmark = pytest.mark.django_db


def test_a_worker_of_the_old_epoch_has_confirmed_nothing_and_is_named():
    worker = make_worker()
    catch_up(worker)
    before = Installation.objects.get()
    assert confirmation_of(before.revision, api_id="").is_confirmed

    with pytest.raises(CommandError, match=str(worker.pk)) as refused:
        call_command("new_epoch", "--timeout", "0", stdout=io.StringIO())

    assert "dismiss it in the User Portal" in str(refused.value)
    assert Installation.objects.get().epoch != before.epoch
    assert not confirmation_of(before.revision, api_id="").is_confirmed


def test_without_gateways_there_is_nobody_to_wait_for():
    output = io.StringIO()

    call_command("new_epoch", stdout=output)

    assert "Every gateway worker has read the restored database" in output.getvalue()
