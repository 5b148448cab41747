"""The engines that tests need: optional to users, not to CI."""

from __future__ import annotations

import os

import pytest

from transforms.predictors.engines.base import Engine, is_installed
from transforms.predictors.engines.choose_engine import ENGINES


def require(name: str) -> Engine:
    """Return an engine; skip the test where it is not installed, and fail it in CI."""
    engine = ENGINES[name]
    if not is_installed(engine):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs: pip install {engine.package}")
    return engine
