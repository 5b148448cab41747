"""`beam-predict notify`, as a user calls it, with a real Pub/Sub emulator."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from google.api_core.exceptions import NotFound
from google.cloud import pubsub_v1
from google.iam.v1.policy_pb2 import Policy

from emulators.pubsub import create_subscription, create_topic, publish, pull
from pipeline.cli import main
from pipeline.notification import PUBLISHER_ROLE, SetUp, Wanted
from tests.pipeline.bucket_server import ACCOUNT, BUCKET, BucketServer, bucket_server

PROJECT = "a-project"
NUMBERS = itertools.count()
PATHS = {"topic": f"projects/{PROJECT}/topics", "subscription": f"projects/{PROJECT}/subscriptions"}
EVENT = "OBJECT_FINALIZE"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketServer]:
    with bucket_server() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.address)
        yield server


@pytest.fixture
def name(pubsub: str, server: BucketServer) -> str:
    """A name of which there is no topic and no subscription."""
    return f"photos-{next(NUMBERS)}"


@pytest.fixture
def notify(name: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., SimpleNamespace]:
    """Run the command for that name."""

    def call(
        *flags: str, topic: str = name, subscription: str = name, bucket: str = BUCKET
    ) -> SimpleNamespace:
        given = ["--bucket", bucket, "--topic", topic, "--subscription", subscription, "--project", PROJECT]
        code = main(["notify", *given, *flags])
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, lines=out.splitlines(), err=err)

    return call


def notification(topic: str, **fields: Any) -> dict[str, Any]:
    path = f"//pubsub.googleapis.com/projects/{PROJECT}/topics/{topic}"
    return {"topic": path, "payload_format": "JSON_API_V1", "event_types": [EVENT], **fields}


def subscription_of(name: str) -> Any:
    with pubsub_v1.SubscriberClient() as client:
        return client.get_subscription(subscription=f"{PATHS['subscription']}/{name}")


def done(line: str) -> str:
    return line.partition(": ")[2]


class TestCreation:
    def test_what_is_absent_is_created(self, notify: Any, name: str, server: BucketServer) -> None:
        result = notify()
        assert (result.code, result.err) == (0, "")
        topic, subscription, allowed, told, then = result.lines
        assert topic.split() == ["topic", f"{PATHS['topic']}/{name}:", "created"]
        assert subscription.split() == ["subscription", f"{PATHS['subscription']}/{name}:", "created"]
        assert allowed.split()[:2] == [PUBLISHER_ROLE, f"{ACCOUNT}:"]
        assert told.split() == ["notification", f"gs://{BUCKET}/*:", "created"]
        assert f"--input_subscription {PATHS['subscription']}/{name} " in then
        assert server.notifications == [{**notification(name), "id": "1"}]

    def test_messages_of_the_topic_reach_the_subscription(self, notify: Any, name: str) -> None:
        notify()
        publish(f"{PATHS['topic']}/{name}", [(b"a file", {"eventType": EVENT})])
        (message,) = pull(f"{PATHS['subscription']}/{name}", 1)
        assert message.data == b"a file"

    def test_the_subscription_keeps_its_messages_for_a_job_that_is_down(self, notify: Any, name: str) -> None:
        notify()
        found = subscription_of(name)
        assert found.topic == f"{PATHS['topic']}/{name}"
        assert found.ack_deadline_seconds == 60
        assert found.message_retention_duration.days == 7
        assert not found.expiration_policy.ttl  # it never expires

    def test_a_second_time_all_is_there(self, notify: Any, server: BucketServer) -> None:
        notify()
        writes = server.writes
        again = notify()
        assert again.code == 0
        assert [done(again.lines[n]) for n in (0, 1, 3)] == ["is there"] * 3
        assert server.writes == writes

    def test_what_is_there_is_left_as_it_is(self, notify: Any, name: str, server: BucketServer) -> None:
        topic = create_topic(name, PROJECT)
        create_subscription(name, topic)
        before = subscription_of(name)
        result = notify()
        assert [done(result.lines[n]) for n in (0, 1, 3)] == ["is there", "is there", "created"]
        assert subscription_of(name) == before
        assert before.ack_deadline_seconds != 60

    def test_a_dry_run_creates_nothing(self, notify: Any, name: str, server: BucketServer) -> None:
        result = notify("--dry_run")
        assert result.code == 0
        assert [done(result.lines[n]) for n in (0, 1, 3)] == ["would be created"] * 3
        assert (server.writes, server.notifications) == (0, [])
        with pytest.raises(NotFound):
            subscription_of(name)

    def test_a_dry_run_tells_what_is_there(self, notify: Any) -> None:
        notify()
        result = notify("--dry_run")
        assert [done(result.lines[n]) for n in (0, 1, 3)] == ["is there"] * 3

    def test_without_a_subscription_there_is_none(
        self, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = f"{PATHS['topic']}/{name}"
        assert main(["notify", "--bucket", BUCKET, "--topic", path]) == 0
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
            *("topic", PUBLISHER_ROLE, "notification")
        ]

    @pytest.mark.parametrize("bucket", [f"gs://{BUCKET}", f"gs://{BUCKET}/"])
    def test_paths_and_addresses_are_taken_as_well_as_names(
        self, notify: Any, name: str, bucket: str
    ) -> None:
        paths = {kind: f"{path}/{name}" for kind, path in PATHS.items()}
        assert notify("--project", "of-none", bucket=bucket, **paths).code == 0
        assert subscription_of(name).topic == paths["topic"]

    def test_the_project_can_come_from_the_environment(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
        assert main(["notify", "--bucket", BUCKET, "--topic", name, "--subscription", name]) == 0
        assert subscription_of(name).topic == f"{PATHS['topic']}/{name}"


class TestNotifications:
    def test_a_prefix_limits_them(self, notify: Any, name: str, server: BucketServer) -> None:
        result = notify("--prefix", "new/")
        assert f"gs://{BUCKET}/new/*: created" in result.lines[3]
        assert server.notifications == [{**notification(name, object_name_prefix="new/"), "id": "1"}]

    @pytest.mark.parametrize(
        "fields", [{}, {"event_types": ["OBJECT_DELETE", EVENT]}, {"payload_format": "NONE"}]
    )
    def test_one_that_tells_the_same_is_enough(
        self, notify: Any, name: str, server: BucketServer, fields: dict[str, Any]
    ) -> None:
        server.notifications.append(notification(name, id="1", **fields))
        assert done(notify().lines[3]) == "is there"

    def test_one_of_all_events_is_enough(self, notify: Any, name: str, server: BucketServer) -> None:
        server.notifications.append({**notification(name, id="1")})
        del server.notifications[0]["event_types"]
        assert done(notify().lines[3]) == "is there"

    def test_one_of_more_objects_is_enough_and_told(
        self, notify: Any, name: str, server: BucketServer
    ) -> None:
        server.notifications.append(notification(name, id="1", object_name_prefix="new/"))
        result = notify("--prefix", "new/photos/")
        assert done(result.lines[3]) == f"is there, for gs://{BUCKET}/new/*"

    @pytest.mark.parametrize(
        "fields",
        [{"object_name_prefix": "old/"}, {"event_types": ["OBJECT_DELETE"]}, {"object_name_prefix": "new/a"}],
    )
    def test_one_that_tells_something_else_is_not_enough(
        self, notify: Any, name: str, server: BucketServer, fields: dict[str, Any]
    ) -> None:
        server.notifications.append(notification(name, id="1", **fields))
        assert done(notify("--prefix", "new/").lines[3]) == "created"
        assert len(server.notifications) == 2

    def test_one_to_another_topic_is_not_enough(self, notify: Any, name: str, server: BucketServer) -> None:
        server.notifications.append(notification(f"{name}-other", id="1"))
        assert done(notify().lines[3]) == "created"


class TestProblems:
    def test_a_bucket_that_is_not_there_is_told_and_nothing_is_created(self, notify: Any, name: str) -> None:
        result = notify(bucket="missing")
        assert (result.code, result.lines) == (1, [])
        assert "bucket gs://missing does not exist; create it first" in result.err
        with pytest.raises(NotFound):
            subscription_of(name)

    def test_a_subscription_to_another_topic_is_left_alone(self, notify: Any, name: str) -> None:
        other = create_topic(f"{name}-other", PROJECT)
        create_subscription(name, other)
        result = notify()
        assert result.code == 1
        assert f"subscription {PATHS['subscription']}/{name} is to {other}, not to" in result.err
        assert subscription_of(name).topic == other

    def test_what_is_refused_is_told_without_a_traceback(self, notify: Any, server: BucketServer) -> None:
        server.refusals = 100
        result = notify()
        assert result.code == 1
        assert "does not have permission to publish" in result.err
        assert "what is created stays" in result.err
        assert "Traceback" not in result.err
        server.refusals = 0
        assert [done(line) for line in notify().lines if line.startswith("notification")] == ["created"]

    @pytest.mark.parametrize(
        ("flags", "problem"),
        [
            ([], "--bucket is missing"),
            (["--bucket", "photos"], "--topic is missing"),
            (["--bucket", "gs://photos/new", "--topic", "topic"], "--bucket must be the name of a bucket"),
            (["--bucket", "photos", "--topic", "a/b"], "--topic must be projects/PROJECT/topics/TOPIC, or"),
            (["--bucket", "photos", "--topic", "ab"], "or the topic's name alone; got 'ab'"),
            (["--bucket", "photos", "--topic", "goog-it"], "--topic must be"),
            (
                ["--bucket", "photos", "--topic", "topic", "--subscription", "projects/p/topics/topic"],
                "--subscription must be projects/PROJECT/subscriptions/SUBSCRIPTION, or",
            ),
            (["--bucket", "photos", "--topc", "topic"], "unknown flag --topc; did you mean --topic?"),
        ],
    )
    def test_wrong_flags_are_told_together(
        self, flags: list[str], problem: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["notify", *flags]) == 2
        assert problem in capsys.readouterr().err

    def test_a_topic_without_a_project_is_asked_for_one(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
        monkeypatch.setattr("google.auth.default", lambda: (None, None))
        assert main(["notify", "--bucket", "photos", "--topic", "topic"]) == 2
        assert "--topic topic: in which project? Pass --project PROJECT" in capsys.readouterr().err


class Policies:
    """Pub/Sub's client of topics, with the policies that the emulator does not have."""

    def __init__(self, publisher: Any, policy: Policy) -> None:
        self._publisher = publisher
        self.policy = policy
        self.sets = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._publisher, name)

    def get_iam_policy(self, request: Any, timeout: float) -> Policy:
        assert request["options"].requested_policy_version == 3
        copy = Policy()
        copy.CopyFrom(self.policy)
        return copy

    def set_iam_policy(self, request: Any, timeout: float) -> None:
        self.sets += 1
        assert request["policy"].etag == self.policy.etag
        self.policy = request["policy"]


class TestPermission:
    MEMBER = f"serviceAccount:{ACCOUNT}"

    @pytest.fixture
    def wanted(self, name: str) -> Wanted:
        return Wanted(BUCKET, create_topic(name, PROJECT))

    @pytest.fixture
    def policies(self, pubsub: str) -> Iterator[Policies]:
        publisher = pubsub_v1.PublisherClient()
        yield Policies(publisher, Policy(etag=b"1"))
        publisher.transport.close()

    @pytest.fixture
    def set_up(self, server: BucketServer, policies: Policies) -> SetUp:
        from google.cloud.storage import Client

        return SetUp(Client(project=None), policies, None)

    def test_cloud_storage_is_allowed_to_publish(
        self, set_up: SetUp, wanted: Wanted, policies: Policies
    ) -> None:
        policies.policy.bindings.add(role="roles/viewer", members=["user:a@b.c"])
        steps = list(set_up.run(wanted))
        assert [step.done for step in steps] == ["is there", "created", "created"]
        assert [(binding.role, list(binding.members)) for binding in policies.policy.bindings] == [
            ("roles/viewer", ["user:a@b.c"]),
            (PUBLISHER_ROLE, [self.MEMBER]),
        ]

    def test_it_is_allowed_once(self, set_up: SetUp, wanted: Wanted, policies: Policies) -> None:
        list(set_up.run(wanted))
        assert [step.done for step in set_up.run(wanted)] == ["is there"] * 3
        assert policies.sets == 1

    def test_a_dry_run_allows_nothing(self, set_up: SetUp, wanted: Wanted, policies: Policies) -> None:
        dry = SetUp(set_up.storage, policies, None, dry_run=True)
        assert [step.done for step in dry.run(wanted)] == ["is there", *["would be created"] * 2]
        assert policies.sets == 0

    def test_the_notification_waits_until_the_permission_is_known(
        self, set_up: SetUp, wanted: Wanted, server: BucketServer
    ) -> None:
        server.refusals = 1
        assert [step.done for step in set_up.run(wanted)] == ["is there", "created", "created"]
        assert len(server.notifications) == 1

    def test_where_policies_cannot_be_seen_the_command_is_told(self, notify: Any, name: str) -> None:
        allowed = notify().lines[2]
        assert "cannot be seen (501" in allowed
        assert f"gcloud pubsub topics add-iam-policy-binding {PATHS['topic']}/{name} " in allowed
        assert f"--member {self.MEMBER} --role {PUBLISHER_ROLE}" in allowed
