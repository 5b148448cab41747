"""A running streaming job can be updated by this version: it has the same steps, which keep the same."""

from __future__ import annotations

import copy
import re
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.coders import BytesCoder, VarIntCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer

from tests.pipeline.running_jobs import (
    JOBS,
    REMEDY,
    committed,
    description_of,
    kept_by,
    pipeline_of,
)

EACH_JOB = pytest.mark.parametrize("job", JOBS)


@EACH_JOB
def test_the_labels_of_the_steps_are_those_of_running_jobs(job: str) -> None:
    assert description_of(JOBS[job])["labels"] == committed(job)["labels"], REMEDY


@EACH_JOB
def test_what_the_steps_keep_is_what_running_jobs_have_kept(job: str) -> None:
    assert description_of(JOBS[job])["kept"] == committed(job)["kept"], REMEDY


@EACH_JOB
def test_nothing_of_ours_is_kept_pickled(job: str) -> None:
    for label, kept in kept_by(pipeline_of(JOBS[job])).items():
        of_beam = "/ToBigQuery/Write/" in label or "/Accept/" in label or label.startswith("Source/Polls")
        assert of_beam or "FastPrimitives" not in str(kept), label
        assert of_beam or "Pickle" not in str(kept), label


def test_a_number_of_files_that_was_changed_is_no_other_job() -> None:
    flags = (*JOBS["pubsub"], "--max_batch_size", "8", "--max_batch_wait", "50", "--window", "10")
    assert description_of(flags) == committed("pubsub")


def test_other_places_of_the_same_kinds_are_no_other_job() -> None:
    places = {"out": "gs://my-bucket/elsewhere", "predictions": "others", "photos": "pictures"}
    flags = [
        re.sub(rf"\b({'|'.join(places)})$", lambda found: places[found[1]], flag) for flag in JOBS["pubsub"]
    ]
    assert len(set(flags) - set(JOBS["pubsub"])) == len(JOBS["pubsub"]) // 2 - 1  # all but the model
    assert description_of(flags) == committed("pubsub")


@pytest.mark.parametrize(
    "flags",
    [
        ("--output", "elsewhere"),
        ("--dead_letters", "pubsub:projects/my-project/topics/dead"),
        ("--dedupe_window", "0"),
        ("--bigquery_method", "FILE_LOADS", "--temp_location", "gs://my-bucket/t"),
    ],
    ids=lambda flags: flags[0],
)
def test_other_steps_are_another_job(flags: tuple[str, ...]) -> None:
    assert description_of((*JOBS["pubsub"], *flags))["labels"] != committed("pubsub")["labels"]


class _Keeps(beam.DoFn):
    """What a step could be, and what it could become."""

    STATE = BagStateSpec("waiting", VarIntCoder())
    TIMER = TimerSpec("old", TimeDomain.REAL_TIME)

    def process(
        self,
        _: Any,
        waiting: Any = beam.DoFn.StateParam(STATE),  # noqa: B008 (so Beam wants it)
        old: Any = beam.DoFn.TimerParam(TIMER),  # noqa: B008
    ) -> None:
        """Keep nothing, in fact."""

    @on_timer(TIMER)
    def on_old(self) -> None:
        """Do nothing."""


class _KeepsOtherNames(beam.DoFn):
    STATE = BagStateSpec("pending", VarIntCoder())

    def process(self, _: Any, pending: Any = beam.DoFn.StateParam(STATE)) -> None:  # noqa: B008
        """Keep nothing, in fact."""


class _KeepsOtherValues(_Keeps):
    STATE = BagStateSpec("waiting", BytesCoder())

    def process(
        self,
        _: Any,
        waiting: Any = beam.DoFn.StateParam(STATE),  # noqa: B008
        old: Any = beam.DoFn.TimerParam(_Keeps.TIMER),  # noqa: B008
    ) -> None:
        """Keep nothing, in fact."""


class _KeepsForAnotherTime(beam.DoFn):
    TIMER = TimerSpec("old", TimeDomain.WATERMARK)

    def process(
        self,
        _: Any,
        waiting: Any = beam.DoFn.StateParam(_Keeps.STATE),  # noqa: B008
        old: Any = beam.DoFn.TimerParam(TIMER),  # noqa: B008
    ) -> None:
        """Keep nothing, in fact."""

    @on_timer(TIMER)
    def on_old(self) -> None:
        """Do nothing."""


def kept_in(step: beam.DoFn, key_type: type = str) -> dict[str, Any]:
    pipeline = beam.Pipeline()
    keyed = (
        pipeline
        | beam.Create([("a", 1)])
        | beam.Map(lambda pair: pair).with_output_types(tuple[key_type, int])
    )  # type: ignore[valid-type]
    _ = keyed | "Step" >> beam.ParDo(step)
    return {label: kept for label, kept in kept_by(pipeline.to_runner_api()).items() if label == "Step"}


def test_each_change_that_an_update_does_not_survive_is_seen() -> None:
    before = kept_in(_Keeps())
    assert before["Step"]["states"] == {"waiting": "bag of VarIntCoder"}
    assert before == kept_in(copy.copy(_Keeps()))
    for after in (
        kept_in(_KeepsOtherNames()),
        kept_in(_KeepsOtherValues()),
        kept_in(_KeepsForAnotherTime()),
        kept_in(_Keeps(), key_type=bytes),
    ):
        assert after != before
