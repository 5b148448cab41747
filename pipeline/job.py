"""From options to the steps of a pipeline."""

from __future__ import annotations

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PBegin

from options import (
    BatchingOptions,
    DataflowOptions,
    EndpointOptions,
    ModelOptions,
    SourceOptions,
)
from pipeline.graph import Steps
from pipeline.sinks import make_sinks
from transforms.allowed_places import AllowedPlaces
from transforms.batch_files import BatchFiles
from transforms.group_files import GroupFiles
from transforms.predictors.base import Predictor
from transforms.read_files import ReadFiles
from transforms.records import DeadLetter, Prediction
from transforms.results import Results
from transforms.sources.from_inputs import FromInputs
from transforms.sources.from_pubsub import FromPubSub
from transforms.sources.from_watch import FromWatch

_ENCODED_AHEAD = 2


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
        model_sharing=options.view_as(ModelOptions).model_sharing,
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


def _batches_in_flight(endpoint: EndpointOptions) -> int:
    """Keep as many requests under way as are allowed, while the next batches are encoded."""
    return endpoint.max_concurrent_requests + _ENCODED_AHEAD if endpoint.endpoint else 1


def _batching(batching: BatchingOptions, streaming: bool) -> BatchFiles | GroupFiles:
    if batching.group_by:
        return GroupFiles(batching.group_by, batching.max_batch_size)
    wait = batching.max_batch_wait / 1_000 if streaming else None
    return BatchFiles(batching.max_batch_size, batching.min_batch_size, wait)
