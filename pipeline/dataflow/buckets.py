"""Whether the buckets of temporary files can be written."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator

from apache_beam.options.pipeline_options import GoogleCloudOptions

from pipeline.write_errors import bucket_of, why
from transforms import storage


def bucket_problems(places: dict[str, str], cloud: GoogleCloudOptions) -> Iterator[str]:
    """Write a file to each place, and delete it: Beam alone retries a missing bucket for two minutes.

    Args:
        places: By the flags that name them.
        cloud: Whose buckets they would be.
    """
    wrong = defaultdict(list)
    for flag, place in places.items():
        problem = _not_writable(place, cloud)
        if problem is not None:
            wrong[problem].append(f"{flag} {place}")
    for problem, named in wrong.items():
        yield f"{', '.join(named)} {problem}"


def _not_writable(place: str, cloud: GoogleCloudOptions) -> str | None:
    probe = f"{place.rstrip('/')}/{uuid.uuid4().hex}.probe"
    try:
        storage.create(probe).close()
        storage.delete(probe)
    except Exception as error:  # each layer below raises its own
        bucket, reason = bucket_of(place), why(error, place)
        remedy = f"gcloud storage buckets create {bucket} --project={cloud.project} --location={cloud.region}"
        makes = f"; `{remedy}` makes one" if reason.startswith("there is no bucket") else ""
        return f"cannot be written: {reason}{makes}"
    return None
