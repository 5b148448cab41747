"""The flags of the server."""

from __future__ import annotations

from typing import Any

import pytest

from options.serving import DEFAULT_PORT, ServingOptions


def options(**given: Any) -> ServingOptions:
    return ServingOptions({flag.name: flag.default for flag in ServingOptions.FLAGS} | given)


@pytest.mark.parametrize(
    ("flag", "variable", "port"),
    [(None, None, DEFAULT_PORT), (None, "", DEFAULT_PORT), (None, "80", 80), (1, "80", 1), (0, "80", 0)],
)
def test_the_port_is_told_by_the_flag_or_by_the_environment(
    flag: int | None, variable: str | None, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PORT", raising=False)
    if variable is not None:
        monkeypatch.setenv("PORT", variable)
    assert options(port=flag).validate() == []
    assert options(port=flag).effective_port == port


@pytest.mark.parametrize("variable", ["70000", "-1", "8080/tcp"])
def test_a_variable_that_is_no_port_is_told(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", variable)
    (problem,) = options().validate()
    assert problem.startswith("the environment variable PORT must be ")
    assert variable in problem


def test_only_this_machine_is_served_by_default() -> None:
    assert options().host == "127.0.0.1"
