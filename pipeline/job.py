"""From options to the steps of a pipeline."""

from __future__ import annotations

from apache_beam.options.pipeline_options import PipelineOptions

from options import BatchingOptions, ModelOptions, SinkOptions, SourceOptions
from pipeline.graph import Steps
from transforms.batch_files import BatchFiles
from transforms.predictors.base import Predictor
from transforms.predictors.choose_feed import Wishes
from transforms.predictors.images import Preprocessing
from transforms.predictors.open_model import open_model
from transforms.read_files import ReadFiles
from transforms.records import DeadLetter, Prediction
from transforms.schemas import arrow_schema
from transforms.sinks.to_files import ToFiles
from transforms.sources.from_inputs import FromInputs


def make_predictor(options: PipelineOptions) -> Predictor:
    """Make the predictor that the options ask for; nothing is loaded yet.

    Raises:
        ModelError: The model cannot be read, or cannot be fed as the options say.
    """
    model = options.view_as(ModelOptions)
    wishes = Wishes(
        item_input=model.item_input,
        kind=model.input_kind,
        preprocessing=None if model.preprocess is None else Preprocessing.parse(model.preprocess),
        constants=dict(item.split("=", 1) for item in model.model_inputs or ()),
    )
    return open_model(model.model, model.signature, wishes)


def make_steps(options: PipelineOptions, predictor: Predictor) -> Steps:
    """Make the steps of a pipeline.

    Raises:
        ModelError: The predictor's model cannot be read, or its outputs cannot be written.
    """
    source, batching = options.view_as(SourceOptions), options.view_as(BatchingOptions)
    sink = options.view_as(SinkOptions)
    signature = predictor.signature
    return Steps(
        source=FromInputs(source.input),
        batch=BatchFiles(batching.max_batch_size, batching.min_batch_size),
        read=ReadFiles(
            predictor.input_kind, source.read_threads, source.max_file_bytes, source.read_ahead_bytes
        ),
        predictor=predictor,
        predictions=ToFiles(sink.predictions_prefix, sink.output_format, arrow_schema(Prediction, signature)),
        dead_letters=ToFiles(
            sink.dead_letters_prefix, sink.output_format, arrow_schema(DeadLetter, signature)
        ),
    )
