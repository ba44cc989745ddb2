"""Plotly figures as plain dicts. `static/js/chart.js` draws them; colours are names of CSS tokens that it looks up."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from apimgmt.stats.counts import DayTotals

# A nice step for the count axis, so that it never shows half a request.
_STEPS = (1, 2, 5)
MAX_TICKS = 4


def request_count_figure(counts: list[DayTotals]) -> dict[str, Any]:
    """Stacked bars by day: Status 200 below, Status 4xx or 5xx above; the last, unfinished day is hatched.

    `meta.color` of a trace is a CSS token, as are the `var(--...)` colours of the layout.
    """
    highest = max((day.count_200 + day.count_errors for day in counts), default=0)
    step = count_step(highest)
    return {
        "data": [
            _bars(
                counts,
                name=_("Status 200"),
                values=[day.count_200 for day in counts],
                color="--chart-200",
                hover=_("Status 200: %(count)s") % {"count": "%{y:,}"},
            ),
            _bars(
                counts,
                name=_("Status 4xx or 5xx"),
                values=[day.count_errors for day in counts],
                color="--chart-errors",
                hover=_("Status 4xx or 5xx: %(count)s (4xx: %(client)s, 5xx: %(server)s)")
                % {"count": "%{y:,}", "client": "%{customdata[0]:,}", "server": "%{customdata[1]:,}"},
            ),
        ],
        "layout": {
            "barmode": "stack",
            "bargap": 0.28,
            "hovermode": "x unified",
            "dragmode": False,
            "showlegend": True,
            "legend": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "y": 1.04,
                "yanchor": "bottom",
                "traceorder": "normal",
            },
            "margin": {"l": 44, "r": 4, "t": 34, "b": 28},
            "xaxis": {
                "type": "date",
                "fixedrange": True,
                "tickformat": "%-d %b",
                "hoverformat": "%-d %B %Y",
                "showgrid": False,
                "showspikes": False,
                "nticks": 8,
                "ticks": "",
            },
            "yaxis": {
                "fixedrange": True,
                "rangemode": "tozero",
                "range": [0, max(step * MAX_TICKS, highest * 1.08) if highest else MAX_TICKS],
                "tick0": 0,
                "dtick": step,
                "tickformat": ",d",
                "zeroline": False,
                "ticks": "",
            },
        },
    }


def _bars(counts: list[DayTotals], *, name: str, values: list[int], color: str, hover: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "name": name,
        "x": [day.day.isoformat() for day in counts],
        "y": values,
        "customdata": [[day.count_4xx, day.count_5xx] for day in counts],
        "hovertemplate": hover + "<extra></extra>",
        "marker": {
            "line": {"width": 0},
            "pattern": {"shape": [""] * (len(counts) - 1) + ["/"], "size": 6, "solidity": 0.35, "fillmode": "overlay"},
        },
        "meta": {"color": color},
    }


def count_step(highest: int) -> int:
    """The distance of grid lines: 1, 2 or 5 times a power of ten, so that at most MAX_TICKS fit below `highest`."""
    power = 1
    while True:
        for step in _STEPS:
            if step * power * MAX_TICKS >= highest:
                return step * power
        power *= 10
