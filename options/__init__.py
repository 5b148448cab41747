"""The command line: one module a group of flags."""

from options.batching import BatchingOptions
from options.dataflow import DataflowOptions
from options.endpoint import EndpointOptions
from options.engine import EngineOptions
from options.model import ModelOptions
from options.parsing import GROUPS, parse
from options.postprocessing import PostprocessingOptions
from options.sink import SinkOptions
from options.source import SourceOptions

__all__ = [
    "GROUPS",
    "BatchingOptions",
    "DataflowOptions",
    "EndpointOptions",
    "EngineOptions",
    "ModelOptions",
    "PostprocessingOptions",
    "SinkOptions",
    "SourceOptions",
    "parse",
]
