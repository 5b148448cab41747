"""Where records go."""

from __future__ import annotations

import pytest

from options import SinkOptions, parse
from options.destinations import Files, Table, Topic, beside, parse_destination
from transforms.errors import UsageError
from transforms.sinks.bigquery_tables import TableName

TOPIC = "projects/my-project/topics/predictions"
INPUT = ("--input", "*.png", "--model", "model")


def sink_of(*flags: str) -> SinkOptions:
    return parse([*INPUT, *flags]).view_as(SinkOptions)


def problems_of(*flags: str) -> list[str]:
    with pytest.raises(UsageError) as raised:
        parse([*INPUT, *flags])
    return raised.value.problems


@pytest.mark.parametrize(
    ("text", "destination"),
    [
        ("out/digits", Files("out/digits")),
        ("gs://bucket/out", Files("gs://bucket/out")),
        ("bigquery:my-project.digits.predictions", Table(TableName("my-project", "digits", "predictions"))),
        (f"pubsub:{TOPIC}", Topic(TOPIC)),
    ],
)
def test_what_a_destination_is_is_told_by_its_beginning(
    text: str, destination: Files | Table | Topic
) -> None:
    assert parse_destination(text) == destination
    assert str(destination) == text


@pytest.mark.parametrize("place", ["out", "out/"])
def test_files_of_a_folder_stand_in_it(place: str) -> None:
    assert Files(place).prefix("predictions") == "out/predictions"


@pytest.mark.parametrize("place", ["out/run-", "out/run_", "out/run."])
def test_files_of_a_prefix_stand_behind_it(place: str) -> None:
    assert Files(place).prefix("predictions") == f"{place}predictions"


def test_dead_letters_go_beside_files_into_another_table_and_to_no_topic() -> None:
    table = TableName("my-project", "digits", "predictions")
    assert beside(Files("out")) == Files("out")
    assert beside(Table(table)) == Table(TableName("my-project", "digits", "predictions_dead_letters"))
    assert beside(Topic(TOPIC)) is None


def test_there_may_be_several_outputs_each_with_its_dead_letters() -> None:
    sink = sink_of("--output", "out", "--output", "bigquery:my-project.d.t", "--temp_location", "gs://b/tmp")
    assert list(map(str, sink.outputs)) == ["out", "bigquery:my-project.d.t"]
    assert list(map(str, sink.dead_letter_outputs)) == ["out", "bigquery:my-project.d.t_dead_letters"]
    assert sink.summary_file == "out/summary.json"


def test_without_files_there_is_no_summary_file() -> None:
    sink = sink_of("--output", f"pubsub:{TOPIC}", "--dead_letters", "bad")
    assert sink.summary_file is None
    assert sink.files == {"bad/dead_letters": "--dead_letters"}


def test_the_dead_letters_of_a_topic_need_a_place() -> None:
    (problem,) = problems_of("--output", f"pubsub:{TOPIC}")
    assert problem.startswith("--dead_letters is missing")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bigquery:table", "must name a table as PROJECT.DATASET.TABLE"),
        ("pubsub:predictions", "must be projects/PROJECT/topics/TOPIC"),
    ],
)
def test_what_names_no_table_or_topic_is_told(text: str, told: str) -> None:
    (problem,) = problems_of("--output", text)
    assert told in problem
    assert repr(text) in problem


def test_an_output_that_is_given_twice_is_told() -> None:
    assert "--output out is given twice" in problems_of("--output", "out", "--output", "out")


def test_dead_letters_do_not_go_into_the_table_of_the_predictions() -> None:
    table = "bigquery:my-project.d.t"
    problems = problems_of(
        *("--output", table, "--dead_letters", table, "--bigquery_method", "STREAMING_INSERTS")
    )
    assert problems == [f"--dead_letters {table}: that is the predictions' own; give another"]


def test_loads_need_a_place_for_their_files() -> None:
    (problem,) = problems_of("--output", "bigquery:my-project.d.t")
    assert "pass --temp_location gs://BUCKET/FOLDER, or --bigquery_method STREAMING_INSERTS" in problem
