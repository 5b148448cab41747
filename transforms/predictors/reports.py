"""What predictors have to tell of beside their outcomes, for somebody to count."""

from __future__ import annotations

from typing import Any

from transforms.predictors.engines.report import EngineReport
from transforms.predictors.remote.request_report import RequestReport

Report = EngineReport | RequestReport
"""Something that a predictor has to tell."""

_WRAPPERS = ("predictor", "function", "second")


def new_reports(predictor: Any) -> list[Report]:
    """Return what a loaded predictor has to tell since this was last called.

    Args:
        predictor: Any predictor: what has reports is looked for inside of what wraps it.
    """
    inner = predictor
    while not hasattr(inner, "new_reports"):
        name = next((name for name in _WRAPPERS if hasattr(inner, name)), None)
        if name is None:
            return []
        inner = getattr(inner, name)
    reports: list[Report] = inner.new_reports()
    return reports
