"""The figure of the request count: two stacked series, every day there, no half requests on the axis."""

from __future__ import annotations

from datetime import date, timedelta

import plotly.graph_objects as go
import pytest

from apimgmt.stats.charts import count_step, request_count_figure
from apimgmt.stats.counts import DayTotals

DAYS = [DayTotals(date(2026, 1, 1) + timedelta(days=n), n, 2 * n, 1 if n == 29 else 0) for n in range(30)]


def test_it_is_a_figure_that_plotly_accepts():
    assert len(go.Figure(request_count_figure(DAYS)).data) == 2


def test_the_series_have_the_manuals_names_and_are_stacked():
    figure = request_count_figure(DAYS)

    assert [trace["name"] for trace in figure["data"]] == ["Status 200", "Status 4xx or 5xx"]
    assert figure["layout"]["barmode"] == "stack"


def test_4xx_and_5xx_are_one_number_and_split_in_the_hover():
    errors = request_count_figure(DAYS)["data"][1]

    assert errors["y"][29] == 59
    assert errors["customdata"][29] == [58, 1]
    assert "%{customdata[0]:,}" in errors["hovertemplate"]


def test_only_the_unfinished_day_is_hatched():
    for trace in request_count_figure(DAYS)["data"]:
        assert trace["marker"]["pattern"]["shape"] == [""] * 29 + ["/"]


def test_hover_texts_hold_no_markup_that_would_need_inline_styles():
    for trace in request_count_figure(DAYS)["data"]:
        assert trace["hovertemplate"].replace("<extra></extra>", "").count("<") == 0


@pytest.mark.parametrize(
    ("highest", "step"), [(0, 1), (1, 1), (4, 1), (5, 2), (9, 5), (20, 5), (21, 10), (1500, 500), (10**9, 5 * 10**8)]
)
def test_grid_lines_are_whole_numbers_of_requests(highest, step):
    assert count_step(highest) == step


def test_a_day_without_calls_leaves_an_axis_of_some_height():
    empty = [DayTotals(day.day, 0, 0, 0) for day in DAYS]

    assert request_count_figure(empty)["layout"]["yaxis"]["range"] == [0, 4]
