"""What computes a TensorFlow function in TensorFlow's place, once it has shown that it computes the same."""

from transforms.predictors.engines.base import AUTO, ENGINE_CHOICES, TENSORFLOW, EngineWish
from transforms.predictors.engines.choose_engine import ENGINES, with_engine
from transforms.predictors.engines.engine_function import EngineFunction
from transforms.predictors.engines.made_up import made_up_inputs
from transforms.predictors.engines.report import EngineReport

__all__ = [
    "AUTO",
    "ENGINES",
    "ENGINE_CHOICES",
    "TENSORFLOW",
    "EngineFunction",
    "EngineReport",
    "EngineWish",
    "made_up_inputs",
    "with_engine",
]
