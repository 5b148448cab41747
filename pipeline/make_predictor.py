"""From options to the predictor that they ask for."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from functools import partial

from apache_beam.options.pipeline_options import PipelineOptions

from options import (
    BatchingOptions,
    EndpointOptions,
    EngineOptions,
    ModelOptions,
    PostprocessingOptions,
    SourceOptions,
)
from pipeline.sample_files import first_files
from transforms import storage
from transforms.errors import ModelError, ReadError
from transforms.predictors.base import Predictor, TensorSpec
from transforms.predictors.choose_feed import Wishes
from transforms.predictors.engines import EngineWish
from transforms.predictors.local import LocalPredictor
from transforms.predictors.open_model import open_model
from transforms.predictors.polling import open_newest
from transforms.predictors.preprocessing import Preprocessing
from transforms.predictors.remote.caller import RetryPolicy
from transforms.predictors.remote.connection import Connection
from transforms.predictors.remote.open_endpoint import Told, open_endpoint
from transforms.predictors.remote.schema_text import parse_schema
from transforms.predictors.top_classes import read_class_names, with_top_classes
from transforms.predictors.versions import VersionedModel

_MAX_CERTIFICATES_BYTES = 1 << 20


def make_predictor(options: PipelineOptions) -> Predictor:
    """Make the predictor that the options ask for; nothing is loaded yet.

    Raises:
        ModelError: The model cannot be read, or cannot be fed as the options say.
    """
    model = options.view_as(ModelOptions)
    if options.view_as(EndpointOptions).endpoint:
        return make_remote_predictor(options)
    return make_local_predictor(model, options.view_as(PostprocessingOptions), _engine(options))


def make_local_predictor(
    model: ModelOptions,
    readable: PostprocessingOptions,
    engine: EngineWish,
    open_path: Callable[..., LocalPredictor] = open_model,
) -> Predictor:
    """Make the predictor of a model that is loaded where it is used.

    Args:
        model: Which model, and how it is fed.
        readable: What is added to its outputs.
        engine: What computes it.
        open_path: Opens one version of the model; takes what `open_model` takes.

    Raises:
        ModelError: The model cannot be read, or cannot be fed as the options say.
    """
    versions = VersionedModel(
        model.model,
        open_path=partial(open_path, signature=model.signature, wishes=make_wishes(model), engine=engine),
        finish=make_readable(readable),
    )
    return open_newest(versions, model.model_version, model.model_poll_interval)


def make_remote_predictor(options: PipelineOptions) -> Predictor:
    """Make the predictor that asks an endpoint; the endpoint is asked what it takes and gives.

    Raises:
        ModelError: It cannot be reached, refuses, or cannot be fed as the options say.
    """
    model, endpoint = options.view_as(ModelOptions), options.view_as(EndpointOptions)
    predictor = open_endpoint(
        make_connection(endpoint),
        model.signature if model.changed("signature") else None,
        make_wishes(model),
        Told(_schema(endpoint.input_schema), _schema(endpoint.output_schema)),
        samples=partial(first_files, options.view_as(SourceOptions)),
        poll_seconds=model.model_poll_interval,
    )
    return make_readable(options.view_as(PostprocessingOptions))(predictor)


def make_connection(endpoint: EndpointOptions) -> Connection:
    """Make of the options how an endpoint is talked to.

    Raises:
        ModelError: The file of certificates cannot be read.
    """
    return Connection(
        endpoint=endpoint.parsed,
        auth=endpoint.auth,
        ca=_certificates(endpoint.endpoint_ca),
        request_format=endpoint.request_format,
        parameters=json.loads(endpoint.endpoint_parameters) if endpoint.endpoint_parameters else None,
        max_concurrent_requests=endpoint.max_concurrent_requests,
        max_request_bytes=endpoint.max_request_bytes,
        max_answer_bytes=endpoint.max_answer_bytes,
        request_deadline=endpoint.request_deadline,
        policy=RetryPolicy(request_timeout=endpoint.request_timeout, retry_share=endpoint.retry_share),
    )


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


def _engine(options: PipelineOptions) -> EngineWish:
    engine, batching = options.view_as(EngineOptions), options.view_as(BatchingOptions)
    return EngineWish(engine.engine, engine.tolerance, batching.max_batch_size)


def _schema(text: str | None) -> tuple[TensorSpec, ...] | None:
    return None if text is None else parse_schema(text)


def _certificates(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        certificates = storage.read(path, _MAX_CERTIFICATES_BYTES).decode("ascii")
        ssl.create_default_context(cadata=certificates)
    except (ReadError, UnicodeDecodeError, ssl.SSLError, ValueError) as error:
        raise ModelError(f"--endpoint_ca {path} holds no certificates in PEM form: {error}") from error
    return certificates


def _unchanged(predictor: Predictor) -> Predictor:
    return predictor
