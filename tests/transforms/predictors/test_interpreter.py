"""Python's garbage collector, where models are loaded and freed."""

from __future__ import annotations

import gc

import pytest

from transforms.predictors import interpreter
from transforms.predictors.interpreter import keep_collections_short


def test_a_process_is_frozen_once_whatever_models_it_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[int] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(1))
    interpreter._freeze.cache_clear()
    for needs_tensorflow in (False, True, False, True):
        keep_collections_short(needs_tensorflow)
    assert frozen == [1]
