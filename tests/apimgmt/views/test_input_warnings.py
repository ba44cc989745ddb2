"""The table of odd values on an API's page."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apimgmt.models import InputWarning
from apimgmt.views.input_warnings import warnings_of_today
from tests.apimgmt.views.conftest import url

pytestmark = pytest.mark.django_db


def noted(api, column, code, count, *, days_ago=0):
    day = timezone.localdate() - timedelta(days=days_ago)
    InputWarning.objects.create(api_id=api.pk, day=day, column=column, code=code, count=count)


def test_todays_odd_values_are_told_by_column_the_most_frequent_first(operator, api):
    noted(api, "island", "unknown_category", 3)
    noted(api, "mass", "out_of_range", 1)
    noted(api, "", "empty_rows_dropped", 2)
    noted(api, "mass", "a_code_of_later", 9)
    noted(api, "old", "out_of_range", 7, days_ago=1)

    lines = [(line.column, line.sentence) for line in warnings_of_today(api)]
    page = operator.get(url("model-api", api.model)).content.decode()

    assert lines == [
        ("mass", "a_code_of_later: 9"),
        ("island", "3 rows with an unknown value"),
        ("", "2 CSVs with empty rows at their end"),
        ("mass", "1 row with a number out of range"),
    ]
    assert "3 rows with an unknown value" in page


def test_no_table_is_shown_where_there_is_nothing_to_tell(operator, api):
    assert 'id="input-warnings"' not in operator.get(url("model-api", api.model)).content.decode()
