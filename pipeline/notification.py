"""What streaming needs of Cloud Storage and Pub/Sub: what is absent is created, what is there is left alone.

A bucket's notifications go to a topic, which Cloud Storage itself must be allowed to publish to; a job reads
them from a subscription to that topic.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound
from google.api_core.retry import Retry, if_exception_type
from google.iam.v1.options_pb2 import GetPolicyOptions

from transforms.errors import ConfigurationError

NEW_OBJECTS = "OBJECT_FINALIZE"
PAYLOAD = "JSON_API_V1"
PUBLISHER_ROLE = "roles/pubsub.publisher"

ACK_SECONDS = 60
"""How long a message may be worked on before it comes again; runners ask for more where they need it."""

RETENTION_SECONDS = 7 * 24 * 60 * 60
"""How long messages wait for a job that is down."""

REQUEST_SECONDS = 30.0
GRANT_SECONDS = 120.0

CREATED = "created"
EXISTS = "is there"


@dataclass(frozen=True)
class Wanted:
    """What there must be.

    Attributes:
        bucket: The name of the bucket; it must exist.
        topic: `projects/PROJECT/topics/TOPIC`.
        subscription: `projects/PROJECT/subscriptions/SUBSCRIPTION`; None for none.
        prefix: How the names begin of the objects to tell of; empty for all.
    """

    bucket: str
    topic: str
    subscription: str | None = None
    prefix: str = ""


@dataclass(frozen=True)
class Step:
    """One of the things that there must be, and what was done for it."""

    what: str
    name: str
    done: str


@dataclass(frozen=True)
class SetUp:
    """Whoever sets it up.

    Attributes:
        storage: A client of google-cloud-storage.
        publisher: google-cloud-pubsub's client of topics.
        subscriber: ... and of subscriptions.
        dry_run: Whether to say only what would be done.
    """

    storage: Any
    publisher: Any
    subscriber: Any
    dry_run: bool = False

    def run(self, wanted: Wanted) -> Iterator[Step]:
        """Set up what is absent, and yield each step when it is done.

        Raises:
            ConfigurationError: The bucket does not exist, or the subscription is to another topic.
            GoogleAPICallError: Something may not be seen or created.
        """
        bucket = self._bucket(wanted.bucket)
        yield Step("topic", wanted.topic, self._topic(wanted.topic))
        if wanted.subscription is not None:
            yield Step("subscription", wanted.subscription, self._subscription(wanted))
        allowed = self._publisher_role(bucket, wanted.topic)
        yield allowed
        objects = f"gs://{wanted.bucket}/{wanted.prefix}*"
        yield Step("notification", objects, self._notification(bucket, wanted, allowed.done == CREATED))

    def _bucket(self, name: str) -> Any:
        try:
            return self.storage.get_bucket(name, timeout=REQUEST_SECONDS)
        except NotFound as error:
            raise ConfigurationError(
                f"bucket gs://{name} does not exist; create it first, where its files should lie: "
                f"gcloud storage buckets create gs://{name} --location REGION"
            ) from error

    def _create(self, create: Callable[[], Any]) -> str:
        if self.dry_run:
            return f"would be {CREATED}"
        create()
        return CREATED

    def _topic(self, topic: str) -> str:
        try:
            self.publisher.get_topic(topic=topic, timeout=REQUEST_SECONDS)
        except NotFound:
            return self._create(
                partial(self.publisher.create_topic, request={"name": topic}, timeout=REQUEST_SECONDS)
            )
        return EXISTS

    def _subscription(self, wanted: Wanted) -> str:
        name = wanted.subscription
        try:
            found = self.subscriber.get_subscription(subscription=name, timeout=REQUEST_SECONDS)
        except NotFound:
            request = {
                "name": name,
                "topic": wanted.topic,
                "ack_deadline_seconds": ACK_SECONDS,
                "message_retention_duration": {"seconds": RETENTION_SECONDS},
                "expiration_policy": {},  # not given: deleted after 31 days without a reader
            }
            create = partial(self.subscriber.create_subscription, request=request, timeout=REQUEST_SECONDS)
            return self._create(create)
        if found.topic != wanted.topic:
            raise ConfigurationError(
                f"subscription {name} is to {found.topic}, not to {wanted.topic}; give another "
                "subscription, or its topic"
            )
        return EXISTS

    def _publisher_role(self, bucket: Any, topic: str) -> Step:
        """Let Cloud Storage publish to the topic; where that cannot be seen to, say how it is done."""
        account = f"service-{bucket.project_number}@gs-project-accounts.iam.gserviceaccount.com"
        try:
            # Asked for because Cloud Storage makes the account only when it is.
            account = self.storage.get_service_account_email(bucket.project_number, timeout=REQUEST_SECONDS)
            done = self._allow(topic, f"serviceAccount:{account}")
        except GoogleAPICallError as error:
            command = (
                f"gcloud pubsub topics add-iam-policy-binding {topic} --member serviceAccount:{account} "
                f"--role {PUBLISHER_ROLE}"
            )
            reason = str(error).partition("\n")[0].strip()
            done = f"cannot be seen ({reason}); if messages do not come, run {command}"
        return Step(PUBLISHER_ROLE, account, done)

    def _allow(self, topic: str, member: str) -> str:
        options = GetPolicyOptions(requested_policy_version=3)  # or conditions would be lost
        try:
            policy = self.publisher.get_iam_policy(
                request={"resource": topic, "options": options}, timeout=REQUEST_SECONDS
            )
        except NotFound:
            if self.dry_run:  # the topic is not there yet
                return f"would be {CREATED}"
            raise
        if any(
            member in binding.members and binding.role == PUBLISHER_ROLE and not binding.condition.expression
            for binding in policy.bindings
        ):
            return EXISTS
        policy.bindings.add(role=PUBLISHER_ROLE, members=[member])
        request = {"resource": topic, "policy": policy}
        return self._create(partial(self.publisher.set_iam_policy, request=request, timeout=REQUEST_SECONDS))

    def _notification(self, bucket: Any, wanted: Wanted, just_allowed: bool) -> str:
        project, topic = _parts(wanted.topic)
        told = [
            found.blob_name_prefix or ""
            for found in bucket.list_notifications(timeout=REQUEST_SECONDS)
            if (found.topic_project, found.topic_name) == (project, topic)
            and NEW_OBJECTS in (found.event_types or [NEW_OBJECTS])
            and wanted.prefix.startswith(found.blob_name_prefix or "")
        ]
        if told:
            return EXISTS if wanted.prefix in told else f"{EXISTS}, for gs://{bucket.name}/{told[0]}*"
        notification = bucket.notification(
            topic_name=topic,
            topic_project=project,
            event_types=[NEW_OBJECTS],
            blob_name_prefix=wanted.prefix or None,
            payload_format=PAYLOAD,
        )
        # It is some seconds until Cloud Storage sees that it has been allowed.
        retry = Retry(if_exception_type(Forbidden), timeout=GRANT_SECONDS) if just_allowed else None
        return self._create(partial(notification.create, timeout=REQUEST_SECONDS, retry=retry))


def _parts(topic: str) -> tuple[str, str]:
    """Take the path of a topic apart, into the project and the topic's own name."""
    match = re.fullmatch(r"projects/(.+)/topics/(.+)", topic)
    if match is None:
        raise ValueError(f"topic is {topic!r}; it must be projects/PROJECT/topics/TOPIC")
    return match.group(1), match.group(2)
