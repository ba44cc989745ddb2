"""The whitelist dialog: errors name their lines and keep what was typed, each change shows its receipt."""

from __future__ import annotations

import pytest

from apimgmt.models import PredictionAPI, WhitelistEntry
from tests.apimgmt.views.conftest import htmx, url

pytestmark = pytest.mark.django_db


def add(client, api, text, **fields):
    return client.post(url("api-whitelist", api.model), {"text": text, "add": "text", **fields})


def networks(api) -> set[str]:
    return set(api.whitelist.values_list("network", flat=True))


def test_add_leads_back_to_the_dialog(operator, api):
    reply = add(operator, api, "192.0.2.7\n2001:db8::/48", note="Oslo")

    assert (reply.status_code, reply.url) == (303, url("api-whitelist", api.model))
    assert networks(api) == {"192.0.2.7/32", "2001:db8::/48"}
    page = operator.get(reply.url).content.decode()
    assert "Added 2 networks" in page
    assert "Oslo" in page


def test_one_bad_line_refuses_all_names_it_and_keeps_the_text(operator, api):
    reply = add(operator, api, "192.0.2.7\n10.0.0.1/8\n<b>x</b>")

    page = reply.content.decode()
    assert reply.status_code == 422
    assert networks(api) == set()
    assert "Line 2:" in page
    assert "10.0.0.0/8" in page
    assert "Line 3:" in page
    assert "192.0.2.7\n10.0.0.1/8\n&lt;b&gt;x&lt;/b&gt;</textarea>" in page
    assert 'aria-invalid="true"' in page


@pytest.mark.parametrize("text", ["", "   \n \n"])
def test_an_empty_box_is_a_message_beside_it(operator, api, text):
    reply = add(operator, api, text)

    assert reply.status_code == 422
    assert 'id="id_text_error"' in reply.content.decode()


def test_5000_lines_are_added_at_once_and_folded_on_the_page(operator, api):
    lines = "\n".join(f"10.{number // 250}.{number % 250}.0/24" for number in range(5000))

    add(operator, api, lines)
    page = operator.get(url("api-whitelist", api.model)).content.decode()
    found = operator.get(url("api-whitelist", api.model), {"q": "10.7.9.0"}).content.decode()

    assert api.whitelist.count() == 5000
    assert "5,000 networks" in page
    assert page.count('id="remove-') == 500
    assert page.index('<details class="fold"') > page.index('id="remove-')
    assert found.count('id="remove-') == 1


def test_add_my_address_adds_both_loopback_addresses(operator, api):
    operator.post(url("api-whitelist", api.model), {"add": "mine", "text": ""})

    assert networks(api) == {"127.0.0.1/32", "::1/128"}


def test_a_known_network_changes_nothing_and_says_so(operator, api):
    add(operator, api, "192.0.2.7")

    page = operator.get(add(operator, api, "192.0.2.7/32").url).content.decode()

    assert "192.0.2.7/32 is on the list already; nothing was changed." in page


def test_a_note_that_is_too_long_is_refused_beside_its_field(operator, api):
    reply = add(operator, api, "192.0.2.7", note="x" * 201)

    assert reply.status_code == 422
    assert networks(api) == set()


def test_removing_by_htmx_answers_with_the_dialog_and_the_parts_behind_it(operator, api):
    entry = WhitelistEntry.objects.create(api=api, network="192.0.2.7/32", created_by="x")

    reply = operator.post(
        url("api-whitelist", api.model), {"remove": entry.pk}, headers=htmx(api.model, target="dialog-body")
    )

    assert 'id="whitelist"' in reply.content.decode()
    assert 'hx-swap-oob="innerHTML:#api-information"' in reply.content.decode()
    assert "Removed 192.0.2.7/32; not confirmed yet: 0 of 1 worker." in reply.content.decode()


def test_an_entry_of_another_api_is_not_removed(operator, api):
    reply = operator.post(url("api-whitelist", api.model), {"remove": "999999"})

    assert reply.status_code == 409
    assert "not on the whitelist any more" in reply.content.decode()


def test_the_last_network_of_a_locked_api_asks_once_more(operator, api):
    entry = WhitelistEntry.objects.create(api=api, network="192.0.2.7/32", created_by="x")
    PredictionAPI.objects.filter(pk=api.pk).update(is_locked=True)

    asked = operator.post(url("api-whitelist", api.model), {"remove": entry.pk})
    still = networks(api)
    operator.post(url("api-whitelist", api.model), {"remove": entry.pk, "confirmed": "1"})

    assert asked.status_code == 409
    assert "Remove it anyway" in asked.content.decode()
    assert (still, networks(api)) == ({"192.0.2.7/32"}, set())


def test_nobody_allowed_is_a_banner_on_the_tab(operator, api):
    assert "Nobody may call this API." in operator.get(url("model-api", api.model)).content.decode()

    WhitelistEntry.objects.create(api=api, network="0.0.0.0/0", created_by="x")

    assert "Nobody may call this API." not in operator.get(url("model-api", api.model)).content.decode()
