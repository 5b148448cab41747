"""From options to the steps of a pipeline."""

from __future__ import annotations

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.pvalue import PBegin

from options import (
    BatchingOptions,
    DataflowOptions,
    EndpointOptions,
    ModelOptions,
    SourceOptions,
)
from options.checks import is_on_dataflow
from options.dataflow_checks import WORKER_ACCELERATOR
from pipeline.graph import Steps
from pipeline.sinks import make_sinks
from transforms.allowed_places import AllowedPlaces
from transforms.batch_files import BatchFiles
from transforms.group_files import GroupFiles
from transforms.model_sharing import ModelSharing
from transforms.predictors.base import Predictor
from transforms.read_files import ReadFiles
from transforms.records import DeadLetter, Prediction
from transforms.results import Results
from transforms.sources.from_inputs import FromInputs
from transforms.sources.from_pubsub import FromPubSub
from transforms.sources.from_watch import FromWatch

_ENCODED_AHEAD = 2
_MPS = "use_nvidia_mps"


def make_steps(options: PipelineOptions, predictor: Predictor) -> Steps:
    """Make the steps of a pipeline.

    Raises:
        ModelError: The predictor's model cannot be read, or its outputs cannot be written.
    """
    source = options.view_as(SourceOptions)
    return Steps(
        source=_source(source),
        batch=_batching(options.view_as(BatchingOptions), source.is_streaming),
        read=ReadFiles(
            predictor.input_kind, source.read_threads, source.max_file_bytes, source.read_ahead_bytes
        ),
        predictor=predictor,
        predictions=make_sinks(options, Prediction, predictor.signature),
        dead_letters=make_sinks(options, DeadLetter, predictor.signature),
        model_sharing=_model_sharing(options),
        predict_hints=options.view_as(DataflowOptions).predict_hints,
        batches_in_flight=_batches_in_flight(options.view_as(EndpointOptions)),
        bytes_in_flight=source.read_ahead_bytes,
    )


def _source(source: SourceOptions) -> beam.PTransform[PBegin, Results]:
    if source.is_pubsub:
        return FromPubSub(
            subscription=source.input_subscription,
            topic=source.input_topic,
            message_format=source.message_format,
            timestamp_attribute=source.timestamp_attribute,
            id_label=source.id_label,
            allowed=AllowedPlaces(tuple(source.allowed_prefix or ())),
            dedupe_seconds=source.dedupe_window,
        )
    if source.watch is not None:
        return FromWatch(source.input, source.watch)
    return FromInputs(source.input)


def _model_sharing(options: PipelineOptions) -> ModelSharing:
    """Choose who shares the model, where that is not given.

    Dataflow starts a process for each core. On a GPU each would keep the model and a context of CUDA's; with
    NVIDIA's MPS that is just what was asked for.
    """
    given: ModelSharing | None = options.view_as(ModelOptions).model_sharing
    if given is not None:
        return given
    gpu = _accelerator(options) if is_on_dataflow(options) else None
    return "machine" if gpu and _MPS not in gpu else "process"


def _accelerator(options: PipelineOptions) -> str | None:
    """Return what Dataflow is told of the GPU that the model has; None where it has none."""
    everywhere = options.view_as(GoogleCloudOptions).dataflow_service_options or ()
    found = (option for option in everywhere if option.startswith(WORKER_ACCELERATOR))
    accelerator: str | None = options.view_as(DataflowOptions).predict_accelerator
    return accelerator or next(found, None)


def _batches_in_flight(endpoint: EndpointOptions) -> int:
    """Keep as many requests under way as are allowed, while the next batches are encoded."""
    return endpoint.max_concurrent_requests + _ENCODED_AHEAD if endpoint.endpoint else 1


def _batching(batching: BatchingOptions, streaming: bool) -> BatchFiles | GroupFiles:
    if batching.group_by:
        return GroupFiles(batching.group_by, batching.max_batch_size)
    wait = batching.max_batch_wait / 1_000 if streaming else None
    return BatchFiles(batching.max_batch_size, batching.min_batch_size, wait)
