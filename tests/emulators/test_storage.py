"""The Cloud Storage of the tests: it tells Pub/Sub what happens to its objects."""

from __future__ import annotations

import uuid

from emulators.pubsub import create_subscription, pull
from emulators.storage import storage_client_of
from tests.conftest import NotifyingBucket


def test_an_upload_and_a_deletion_are_told(gcs_with_notifications: NotifyingBucket) -> None:
    subscription = create_subscription(f"told-{uuid.uuid4().hex}", gcs_with_notifications.topic)
    with storage_client_of(gcs_with_notifications.storage_host) as client:
        blob = client.bucket(gcs_with_notifications.bucket).blob("a.png")
        blob.upload_from_string(b"x")
        (told,) = pull(subscription, 1)
        assert told.attributes["eventType"] == "OBJECT_FINALIZE"
        assert told.attributes["bucketId"] == gcs_with_notifications.bucket
        assert told.attributes["objectId"] == "a.png"
        assert told.attributes["objectGeneration"] == str(blob.generation)
        blob.delete()
        (told,) = pull(subscription, 1)
        assert told.attributes["eventType"] == "OBJECT_DELETE"
