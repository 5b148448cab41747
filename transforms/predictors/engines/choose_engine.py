"""Which engines a function is tried with; decided at launch, where nothing is loaded."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from transforms.errors import ModelError
from transforms.predictors.base import Signature
from transforms.predictors.engines.base import AUTO, TENSORFLOW, Engine, EngineWish, is_installed
from transforms.predictors.engines.engine_function import EngineFunction
from transforms.predictors.engines.litert_engine import LiteRtEngine
from transforms.predictors.engines.openvino_engine import OpenVinoEngine
from transforms.predictors.functions import Chain, Function
from transforms.predictors.saved_model import SavedModelFunction
from transforms.predictors.saved_model_files import read_signatures

_LOGGER = logging.getLogger(__name__)

ENGINES: Mapping[str, Engine] = {engine.name: engine for engine in (OpenVinoEngine(), LiteRtEngine())}


def with_engine(function: Function, wish: EngineWish) -> Function:
    """Let the engine that a user wishes for compute a function.

    Of a chain, it computes the second function: the first decodes images, which engines cannot.

    Raises:
        ModelError: The engine is not installed, or cannot compute such a function.
    """
    if wish.engine == TENSORFLOW:
        return function
    if isinstance(function, Chain):
        return Chain(function.first, with_engine(function.second, wish))
    problem = why_not_convertible(function)
    if problem and wish.engine == AUTO:
        _LOGGER.warning("--engine %s: TensorFlow computes, since %s", AUTO, problem)
        return function
    if problem:
        raise ModelError(f"--engine {wish.engine}: {problem}")
    convertible: Any = function
    return EngineFunction(convertible, _engines(wish.engine), wish)


def _engines(wanted: str) -> tuple[Engine, ...]:
    if wanted == AUTO:
        return tuple(engine for engine in ENGINES.values() if is_installed(engine))
    engine = ENGINES[wanted]
    if not is_installed(engine):
        raise ModelError(
            f"--engine {wanted}: {engine.package} is not installed; pip install {engine.package}, on the "
            "workers as well"
        )
    return (engine,)


def why_not_convertible(function: Function) -> str | None:
    """Tell why a function cannot be converted for any engine; None where it may be."""
    signature = function.signature
    if not hasattr(type(function), "concrete"):
        return "only TensorFlow's models can be converted, and this one is of another kind"
    if is_numeric(signature):
        return None
    numeric = [str(other) for other in _other_signatures(function) if is_numeric(other)]
    listed = "".join(f"\n    {other}" for other in numeric)
    remedy = f"; pass --signature with one that takes numbers:{listed}" if numeric else ""
    return f"signature {signature} takes strings, which no other engine does{remedy}"


def is_numeric(signature: Signature) -> bool:
    """Tell whether a signature takes numbers only."""
    return all(spec.dtype != "string" for spec in signature.inputs)


def _other_signatures(function: Function) -> list[Signature]:
    if isinstance(function, SavedModelFunction):
        return list(read_signatures(function.folder).values())
    return []
