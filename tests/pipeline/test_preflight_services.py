"""What is checked before the start of Google's services: subscriptions, topics, tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.cloud.bigquery import SchemaField, Table

from emulators.bigquery import PROJECT
from emulators.pubsub import create_subscription, create_topic
from options import parse
from pipeline import preflight
from pipeline.prepare import prepare_outputs
from tests.conftest import IMAGES, MODEL
from transforms.errors import UsageError

INSERTS = ("--bigquery_method", "STREAMING_INSERTS")
Check = Callable[..., list[str]]


@pytest.fixture
def problems() -> Check:
    def check(*flags: str) -> list[str]:
        options = parse([*flags, "--model", str(MODEL)])
        try:
            predictor = preflight.check(options)
        except UsageError as error:
            return error.problems
        prepare_outputs(options, predictor.signature)
        return []

    return check


def test_a_missing_subscription_is_told_with_the_command_that_makes_it(pubsub: str, problems: Check) -> None:
    path = f"projects/{PROJECT}/subscriptions/no-such-subscription"
    (problem,) = problems("--input_subscription", path, "--output", "out/preflight")
    assert problem.startswith(
        f"--input_subscription {path} does not exist; `beam-predict notify --bucket BUCKET"
    )


def test_missing_topics_are_told(pubsub: str, problems: Check) -> None:
    path = f"projects/{PROJECT}/topics/no-such-topic"
    subscription = create_subscription("preflight", create_topic("preflight"))
    found = problems(
        *(
            "--input_subscription",
            subscription,
            "--output",
            f"pubsub:{path}",
            "--dead_letters",
            f"pubsub:{path}",
        )
    )
    assert found == [
        f"{flag} {path} does not exist; `gcloud pubsub topics create {path}` makes one"
        for flag in ("--output", "--dead_letters")
    ]


def test_tables_are_created_and_fit_the_next_time(bigquery: Any, problems: Check) -> None:
    bigquery.create_dataset("preflight")
    name = f"{PROJECT}.preflight.predictions"
    flags = ("--input", str(IMAGES[0]), "--output", f"bigquery:{name}", *INSERTS)
    assert problems(*flags) == []
    assert problems(*flags) == []
    table = bigquery.get_table(name)
    assert (table.time_partitioning.field, table.clustering_fields) == ("predicted_at", ["model_version"])
    assert bigquery.get_table(f"{name}_dead_letters").time_partitioning.field == "failed_at"


def test_every_difference_of_a_table_is_told(bigquery: Any, problems: Check) -> None:
    bigquery.create_dataset("others")
    name = f"{PROJECT}.others.predictions"
    bigquery.create_table(
        Table(name, [SchemaField("uri", "INTEGER"), SchemaField("shop", "STRING", "REQUIRED")])
    )
    found = problems("--input", str(IMAGES[0]), "--output", f"bigquery:{name}", *INSERTS)
    told = "\n".join(found)
    assert all(problem.startswith(f"--output: table {name} ") for problem in found)
    assert "has the column uri as NULLABLE INTEGER, the records as REQUIRED STRING" in told
    assert "lacks the column prediction_id" in told
    assert "has the column shop as REQUIRED STRING" in told


def test_a_missing_dataset_is_told_with_the_command_that_makes_it(bigquery: Any, problems: Check) -> None:
    found = problems("--input", str(IMAGES[0]), "--output", f"bigquery:{PROJECT}.nowhere.t", *INSERTS)
    assert any(f"bq mk --dataset {PROJECT}:nowhere" in problem for problem in found), found


def test_id_labels_are_refused_on_this_machine(pubsub: str, problems: Check) -> None:
    subscription = create_subscription("labelled", create_topic("labelled"))
    (problem,) = problems(
        "--input_subscription", subscription, "--id_label", "id", "--output", "out/preflight"
    )
    assert problem.startswith("--id_label id has no effect on this machine")
