"""The model as KServe has it."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pipeline.serving.failure import RequestFailed
from pipeline.serving.kserve_package import import_kserve
from transforms.errors import EngineRefused


class Answering:
    """Answers nothing."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def answer(self, request: Any) -> bytes:
        raise self._error


def failure_of(error: Exception) -> tuple[RequestFailed, list[str]]:
    """Return how a request fails, and the reasons for which the server is stopped."""
    from pipeline.serving.kserve_model import ServedModel

    answering: Any = Answering(error)
    reasons: list[str] = []
    with ThreadPoolExecutor(1) as threads:
        model = ServedModel("m", answering, threads, reasons.append)
        with pytest.raises(RequestFailed) as raised:
            asyncio.run(model({"instances": []}, headers={}))
    return raised.value, reasons


def test_an_error_that_nobody_expects_is_told_without_its_stack() -> None:
    failure, reasons = failure_of(KeyError("x"))
    assert (failure.status, failure.message) == (500, "KeyError: 'x'")
    assert reasons == []


def test_the_server_stops_when_its_engine_does_not_compute_the_model() -> None:
    failure, reasons = failure_of(EngineRefused("--engine litert: its outputs differ"))
    assert failure.status == 500
    assert reasons == ["--engine litert: its outputs differ"]


def test_a_failure_that_is_told_is_passed_on() -> None:
    refused = RequestFailed(400, "no")
    assert failure_of(refused) == (refused, [])


def test_kserve_does_not_read_our_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["beam-predict", "serve", "--workers", "many", "--max_threads", "x"]
    monkeypatch.setattr(sys, "argv", arguments)
    for name in [name for name in sys.modules if name == "kserve.model_server"]:
        monkeypatch.delitem(sys.modules, name)
    import_kserve("kserve.model_server")
    assert sys.argv == arguments
