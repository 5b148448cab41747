"""From options to a model that can be served."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace

from options import EngineOptions, ModelOptions, PostprocessingOptions
from options.serving import ServingOptions
from pipeline.make_predictor import make_local_predictor
from pipeline.model_command import choose_model
from pipeline.serving.number_files import NumbersToo
from transforms import storage
from transforms.errors import ModelError
from transforms.predictors.arrays import ArrayDecoder
from transforms.predictors.base import Predictor
from transforms.predictors.choose_feed import Wishes, choose_feed
from transforms.predictors.completeness import SAVED_MODEL
from transforms.predictors.engines import EngineWish
from transforms.predictors.local import LocalPredictor
from transforms.predictors.open_model import KINDS, PREPROCESS_SIGNATURE, open_model
from transforms.predictors.saved_model_files import read_signatures
from transforms.records import Prediction
from transforms.schemas import arrow_schema

_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)
_VERSION = re.compile(r"[0-9]+")
_ENDINGS = tuple(KINDS.keys() - {SAVED_MODEL})


def open_served(
    model: ModelOptions, engine: EngineOptions, readable: PostprocessingOptions, wanted: ServingOptions
) -> Predictor:
    """Make the predictor that options ask for; nothing is loaded yet.

    Raises:
        ModelError: The model cannot be read, cannot be fed as the options say, or would give away this
            machine's files.
    """
    engine_wish = EngineWish(engine.engine, engine.tolerance, wanted.max_batch_size)
    predictor = make_local_predictor(model, readable, engine_wish, _open)
    arrow_schema(Prediction, predictor.signature)  # what it refuses, JSON cannot write either
    if predictor.input_kind == "names" and not wanted.allowed_prefix:
        raise ModelError(_gives_files_away(model))
    if predictor.input_kind != "names" and wanted.allowed_prefix:
        raise ModelError(
            f"--allowed_prefix has no effect: signature {predictor.signature} takes no names of files"
        )
    return predictor


def name_of(model: str) -> str:
    """Name a model by the last part of its place that is no number of a version."""
    place = os.path.abspath(model) if storage.is_local(model) else model.partition("://")[2]
    names = [part for part in place.split("/") if part and not _VERSION.fullmatch(part)]
    name = names[-1] if names else "model"
    ending = next((ending for ending in _ENDINGS if name.endswith(ending) and name != ending), "")
    return _NO_NAME.sub("-", name.removesuffix(ending)).strip("-") or "model"


def _open(path: str, signature: str, wishes: Wishes, engine: EngineWish) -> LocalPredictor:
    opened = open_model(path, signature, wishes, engine)
    feed = opened.feed
    if feed.kind != "images" or feed.decoder is None:
        return opened
    decoder = NumbersToo(feed.decoder, ArrayDecoder(feed.item))
    return replace(opened, feed=replace(feed, decoder=decoder))


def _gives_files_away(model: ModelOptions) -> str:
    others = " or ".join(f"--signature {name}" for name in _taking_bytes(model))
    remedy = f"pass {others}" if others else "choose a signature that takes bytes"
    return (
        f"signature {model.signature} takes the names of files, so that any client could have this machine's "
        f"files read: {remedy}; or pass --allowed_prefix PLACE, below which they may be named"
    )


def _taking_bytes(model: ModelOptions) -> Iterator[str]:
    """Name the signatures of the model that take bytes."""
    found = choose_model(model).found
    signatures = read_signatures(found.path) if found.kind is KINDS[SAVED_MODEL] else {}
    for name, signature in signatures.items():
        try:
            if name != PREPROCESS_SIGNATURE and choose_feed(signature, Wishes()).kind == "bytes":
                yield name
        except ModelError:
            continue
