"""The nouns of the project, and the names of predictions."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import timedelta, timezone

import pytest

from transforms.errors import (
    DecodeError,
    EndpointUnavailable,
    FileMissing,
    ListError,
    ModelUnavailable,
    ParseError,
    PlaceNotAllowed,
    RecordTooLarge,
    RowRefused,
    StorageUnavailable,
)
from transforms.records import MAX_MESSAGE_CHARS, DeadLetter, FileBytes, FileRef, prediction_id, utc_now

REF = FileRef("gs://bucket/a.png", generation=1_234_567_890_123_456, size=5, attributes={"label": 3})


class TestPredictionId:
    def test_it_is_the_same_for_ever(self) -> None:
        """These are in users' tables: a change would make every replay a second prediction."""
        assert prediction_id(REF, "0123456789abcdef", "serving_default") == "c3cb6886509a0733493d5205a00d600a"
        assert prediction_id(FileRef("数字 é.png"), "1", "from_bytes") == "5f1a61047b4493443b7992bbe17376a7"

    @pytest.mark.parametrize(
        ("ref", "version", "signature"),
        [
            (replace(REF, uri="gs://bucket/b.png"), "1", "a"),
            (replace(REF, generation=2), "1", "a"),
            (replace(REF, generation=None), "1", "a"),
            (replace(REF, generation=0), "1", "a"),
            (REF, "2", "a"),
            (REF, "1", "b"),
            (REF, "", "1a"),
            (REF, "1a", ""),
        ],
    )
    def test_whatever_determines_the_prediction_determines_it(
        self, ref: FileRef, version: str, signature: str
    ) -> None:
        assert prediction_id(ref, version, signature) != prediction_id(REF, "1", "a")

    def test_nothing_else_does(self) -> None:
        same = replace(REF, size=None, attributes={}, content=b"x")
        assert prediction_id(same, "1", "a") == prediction_id(REF, "1", "a")

    def test_names_with_odd_signs_have_one(self) -> None:
        names = ["", "a\0b", 'a"b', "a\\b", "a\nb", "🙂"]
        assert len({prediction_id(FileRef(name), "1", "a") for name in names}) == len(names)


class TestDeadLetter:
    def test_it_tells_what_failed_and_why(self) -> None:
        letter = DeadLetter.of(FileMissing("there is no file a"), REF)
        assert letter == DeadLetter(
            prediction_id=None,
            uri=REF.uri,
            generation=REF.generation,
            stage="read",
            error="FileMissing",
            message="there is no file a",
            retryable=False,
            attempts=1,
            model_version=None,
            attributes={"label": 3},
            payload=None,
            failed_at=letter.failed_at,
        )
        assert timedelta(0) <= utc_now() - letter.failed_at < timedelta(minutes=1)
        assert letter.failed_at.tzinfo is timezone.utc

    def test_it_takes_what_is_known_of_the_prediction(self) -> None:
        letter = DeadLetter.of(DecodeError("no image"), REF, prediction_id="id", model_version="version")
        assert (letter.stage, letter.prediction_id, letter.model_version) == ("decode", "id", "version")

    def test_it_tells_how_often_the_input_was_tried(self) -> None:
        assert DeadLetter.of(EndpointUnavailable("no answer", attempts=3), REF).attempts == 3

    @pytest.mark.parametrize("error", [StorageUnavailable("later"), ModelUnavailable("later")])
    def test_what_may_work_later_is_retryable(self, error: Exception) -> None:
        assert DeadLetter.of(error, REF).retryable

    def test_an_input_that_names_no_file_keeps_its_payload(self) -> None:
        letter = DeadLetter.of(ParseError("line 1 is not JSON", "{"))
        assert (letter.stage, letter.uri, letter.payload, letter.attributes) == ("parse", None, "{", {})

    def test_the_stage_is_that_of_the_error(self) -> None:
        assert DeadLetter.of(ListError("nothing"), REF).stage == "list"

    @pytest.mark.parametrize("error", [RowRefused("no"), RecordTooLarge("no")])
    def test_what_an_output_refuses_failed_at_the_stage_write(self, error: Exception) -> None:
        letter = DeadLetter.of(error, REF, prediction_id="id", model_version="version")
        assert (letter.stage, letter.error, letter.prediction_id) == ("write", type(error).__name__, "id")
        assert not letter.retryable

    def test_a_place_that_is_not_allowed_is_named_at_the_stage_parse(self) -> None:
        letter = DeadLetter.of(PlaceNotAllowed("not there", REF.uri), REF)
        assert (letter.stage, letter.error, letter.uri) == ("parse", "PlaceNotAllowed", REF.uri)

    def test_an_error_of_a_model_counts_as_the_predict_stages(self) -> None:
        letter = DeadLetter.of(ZeroDivisionError("division by zero"), REF)
        assert (letter.stage, letter.error, letter.retryable) == ("predict", "ZeroDivisionError", False)

    def test_a_long_message_is_cut(self) -> None:
        assert len(DeadLetter.of(FileMissing("x" * 10_000)).message) == MAX_MESSAGE_CHARS


def test_a_file_does_not_show_its_bytes() -> None:
    assert repr(replace(REF, content=b"secret")) == repr(REF)


@pytest.mark.parametrize("record", [REF, FileBytes(REF, b"\0"), DeadLetter.of(FileMissing("no"), REF)])
def test_records_can_be_pickled(record: object) -> None:
    assert pickle.loads(pickle.dumps(record)) == record  # noqa: S301
