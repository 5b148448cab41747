"""From options to the steps of a pipeline."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PBegin

from options import (
    BatchingOptions,
    DataflowOptions,
    EngineOptions,
    ModelOptions,
    PostprocessingOptions,
    SourceOptions,
)
from pipeline.graph import Steps
from pipeline.sinks import make_sinks
from transforms.allowed_places import AllowedPlaces
from transforms.batch_files import BatchFiles
from transforms.group_files import GroupFiles
from transforms.predictors.base import Predictor
from transforms.predictors.choose_feed import Wishes
from transforms.predictors.engines import EngineWish
from transforms.predictors.open_model import open_model
from transforms.predictors.polling import open_newest
from transforms.predictors.preprocessing import Preprocessing
from transforms.predictors.top_classes import read_class_names, with_top_classes
from transforms.predictors.versions import VersionedModel
from transforms.read_files import ReadFiles
from transforms.records import DeadLetter, Prediction
from transforms.results import Results
from transforms.sources.from_inputs import FromInputs
from transforms.sources.from_pubsub import FromPubSub
from transforms.sources.from_watch import FromWatch


def make_predictor(options: PipelineOptions) -> Predictor:
    """Make the predictor that the options ask for; nothing is loaded yet.

    Raises:
        ModelError: The model cannot be read, or cannot be fed as the options say.
    """
    model = options.view_as(ModelOptions)
    wishes, engine = make_wishes(model), _engine(options)
    versions = VersionedModel(
        model.model,
        open_path=partial(open_model, signature=model.signature, wishes=wishes, engine=engine),
        finish=make_readable(options.view_as(PostprocessingOptions)),
    )
    return open_newest(versions, model.model_version, model.model_poll_interval)


def make_wishes(model: ModelOptions) -> Wishes:
    """Make of the options what they say of how the model is fed."""
    return Wishes(
        item_input=model.item_input,
        kind=model.input_kind,
        preprocessing=None if model.preprocess is None else Preprocessing.parse(model.preprocess),
        constants=dict(item.split("=", 1) for item in model.model_inputs or ()),
    )


def make_readable(wanted: PostprocessingOptions) -> Callable[[Predictor], Predictor]:
    """Make what adds the best classes to a predictor's outputs, where the options ask for them.

    Raises:
        ModelError: The names of the classes cannot be read.
    """
    if wanted.count is None:
        return _unchanged
    names = read_class_names(wanted.class_names) if wanted.class_names else ()
    return partial(with_top_classes, names=names, count=wanted.count, scores_output=wanted.scores_output)


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


def _engine(options: PipelineOptions) -> EngineWish:
    engine, batching = options.view_as(EngineOptions), options.view_as(BatchingOptions)
    return EngineWish(engine.engine, engine.tolerance, batching.max_batch_size)


def _unchanged(predictor: Predictor) -> Predictor:
    return predictor


def _batching(batching: BatchingOptions, streaming: bool) -> BatchFiles | GroupFiles:
    if batching.group_by:
        return GroupFiles(batching.group_by, batching.max_batch_size)
    wait = batching.max_batch_wait / 1_000 if streaming else None
    return BatchFiles(batching.max_batch_size, batching.min_batch_size, wait)
