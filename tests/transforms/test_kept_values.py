"""What earlier versions have written into the state of running jobs can still be read.

Where a coder writes something new, add a line with what it writes from then on; lines are never changed, as
long as jobs may run that have written such values.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import numpy as np
import pytest
from apache_beam.coders import Coder

from transforms.coders import DeadLetterCoder, FileRefCoder, PredictionCoder
from transforms.records import DeadLetter, FileRef, Prediction

TIME = datetime(2026, 1, 31, 12, 0, 0, 250_000, timezone.utc)

FILE = FileRef("gs://bucket/déjà.png", 1_795_224_577_597_187, 3, {"shop": 7, "tags": ["a", None]})
MESSAGE = FileRef("pubsub:1", 5, 4, {}, b"\x89PNG", 1_795_224_577.5)
LETTER = DeadLetter(
    None, "a.png", None, "read", "FileMissing", "there is no file", False, 1, None, {"shop": 7}, None, TIME
)
PREDICTION = Prediction(
    prediction_id="0123456789abcdef0123456789abcdef",
    uri="a.png",
    generation=5,
    model="gs://bucket/model",
    model_version="3",
    signature="from_bytes",
    outputs={
        "scores": np.array([[0.5, np.nan]], np.float32),
        "label": np.int64(7),
        "names": np.array(["seven", "ünf"], object),
        "name": "seven",
    },
    attributes={"shop": 7},
    predicted_at=TIME,
)

WRITTEN = [
    (FileRefCoder(), '["gs://bucket/déjà.png",1795224577597187,3,{"shop":7,"tags":["a",null]}]', FILE),
    (FileRefCoder(), '["gs://bucket/déjà.png",1795224577597187,3,{"shop":7,"tags":["a",null]},null]', FILE),
    (FileRefCoder(), '["pubsub:1",5,4,{},"iVBORw=="]', MESSAGE),
    (
        FileRefCoder(),
        '["gs://bucket/déjà.png",1795224577597187,3,{"shop":7,"tags":["a",null]},null,null]',
        FILE,
    ),
    (FileRefCoder(), '["pubsub:1",5,4,{},"iVBORw==",1795224577.5]', MESSAGE),
    (
        DeadLetterCoder(),
        '{"prediction_id":null,"uri":"a.png","generation":null,"stage":"read","error":"FileMissing",'
        '"message":"there is no file","retryable":false,"attempts":1,"model_version":null,'
        '"attributes":{"shop":7},"payload":null,"failed_at":"2026-01-31T12:00:00.250000+00:00"}',
        LETTER,
    ),
    (
        PredictionCoder(),
        '{"prediction_id":"0123456789abcdef0123456789abcdef","uri":"a.png","generation":5,'
        '"model":"gs://bucket/model","model_version":"3","signature":"from_bytes",'
        '"outputs":{"scores":["<f4",[1,2],"AAAAPwAAwH8="],"label":["<i8",null,"BwAAAAAAAAA="],'
        '"names":["string",[2],["seven","ünf"]],"name":"seven"},"attributes":{"shop":7},'
        '"predicted_at":"2026-01-31T12:00:00.250000+00:00"}',
        PREDICTION,
    ),
]
"""Coder, what it wrote once, what that is."""


def fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


@pytest.mark.parametrize(("coder", "written", "record"), WRITTEN, ids=range(len(WRITTEN)))
def test_what_was_written_once_is_read(coder: Coder, written: str, record: Any) -> None:
    found, expected = fields(coder.decode(written.encode())), fields(record)
    if record is MESSAGE and found["arrived"] is None:  # before there was a time of arrival
        expected["arrived"] = None
    np.testing.assert_equal(found, expected)


@pytest.mark.parametrize(
    "record", [FILE, MESSAGE, LETTER, PREDICTION], ids=lambda record: type(record).__name__
)
def test_what_is_written_now_is_the_last_of_what_is_known_here(record: Any) -> None:
    coder, written = [(coder, written) for coder, written, one in WRITTEN if one is record][-1]
    assert coder.encode(record).decode() == written, (
        "add what is written now, and keep what was written before"
    )
