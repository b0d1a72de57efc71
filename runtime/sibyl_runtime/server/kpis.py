"""GET /kpis: the figures of the workspace against their targets, as this process measured them."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sibyl_runtime.kpi import Indicators, Reading
from sibyl_runtime.server.responses import JSON


class Kpis:
    """The KPIs of one process; those of a service with several pods are in the status of its workspace."""

    def __init__(self, indicators: Indicators) -> None:
        self._indicators = indicators

    def route(self) -> BaseRoute:
        """GET /kpis."""
        return Route("/kpis", self.show, methods=["GET"])

    async def show(self, _: Request) -> Response:
        """Every KPI in the order of the document."""
        return JSON({"kpis": [_shown(reading) for reading in self._indicators.readings()]})


def _shown(reading: Reading) -> dict[str, Any]:
    indicator = reading.indicator
    return {
        "name": indicator.name,
        "value": reading.value,
        "target": indicator.target,
        "met": reading.met,
        "better": "higher" if indicator.higher_is_better else "lower",
        "window_seconds": indicator.window,
        "measured_seconds": round(reading.measured_seconds, 1),
    }
