"""Whether the buckets of temporary files can be written."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping

from apache_beam.options.pipeline_options import GoogleCloudOptions

from pipeline.dataflow.names import unknown_region
from pipeline.write_errors import bucket_of, why
from transforms import storage
from transforms.errors import FileMissing, ReadError, StorageUnavailable, UnsupportedLocation
from transforms.storage.gcs import GcsStorage

_SECONDS = 5.0
_PLACES = ("temp_location", "staging_location", "template_location")


def places_of(cloud: GoogleCloudOptions) -> dict[str, str]:
    """Return what a launch writes to, or has workers write to, by the flags that name it."""
    return {f"--{name}": place for name in _PLACES if (place := getattr(cloud, name))}


def bucket_problems(places: dict[str, str], cloud: GoogleCloudOptions) -> Iterator[str]:
    """Write a file to each place, and delete it: Beam alone retries a missing bucket for two minutes.

    Args:
        places: By the flags that name them.
        cloud: Whose buckets they would be.
    """
    silent = _unreachable(places)
    if silent is not None:
        yield silent
        return
    wrong = defaultdict(list)
    for flag, place in places.items():
        problem = _not_writable(place, cloud)
        if problem is not None:
            wrong[problem].append(f"{flag} {place}")
    for problem, named in wrong.items():
        yield f"{', '.join(named)} {problem}"


def missing_buckets(cloud: GoogleCloudOptions, named: Mapping[str, str] | None = None) -> Iterator[str]:
    """Tell of buckets that are not there, at the price of a request for each: Beam would try for minutes.

    Nothing is written, and what one may do there is not told.

    Args:
        cloud: Whose buckets they would be.
        named: Places by the flags that name them; not given, those of a launch.
    """
    from google.auth.exceptions import GoogleAuthError

    named = places_of(cloud) if named is None else named
    places = {flag: place for flag, place in named.items() if place.startswith("gs://")}
    try:
        silent = _unreachable(places)
    except GoogleAuthError:  # Beam tells it as soon
        return
    if silent is not None:
        yield silent
        return
    for flag, place in places.items():
        try:
            next(storage.glob(storage.escape(_probe(place))), None)  # a listing of nothing
        except FileMissing:
            yield f"{flag} {place}: there is no bucket {bucket_of(place)}{_making(place, cloud)}"
        except ReadError:  # there is one, which may well be written and not listed
            continue


def _unreachable(places: dict[str, str]) -> str | None:
    """Tell in seconds that Cloud Storage does not answer: its library tries for minutes."""
    for flag, place in places.items():
        try:
            GcsStorage().reach(place, _SECONDS)
        except StorageUnavailable as error:
            return f"{flag} {place}: {error}; see that this machine has a way to Google Cloud, and try again"
        except UnsupportedLocation:
            continue  # which the attempt to write there tells
        return None
    return None


def _not_writable(place: str, cloud: GoogleCloudOptions) -> str | None:
    probe = _probe(place)
    try:
        storage.create(probe).close()
        storage.delete(probe)
    except Exception as error:  # each layer below raises its own
        reason = why(error, place)
        makes = _making(place, cloud) if reason.startswith("there is no bucket") else ""
        return f"cannot be written: {reason}{makes}"
    return None


def _probe(place: str) -> str:
    return f"{place.rstrip('/')}/{uuid.uuid4().hex}.probe"


def _making(place: str, cloud: GoogleCloudOptions) -> str:
    bucket = bucket_of(place)
    project, region = cloud.project or "PROJECT", cloud.region
    if not region or any(unknown_region(region)):  # which is told as well
        region = "REGION"
    remedy = f"gcloud storage buckets create {bucket} --project={project} --location={region}"
    return f"; `{remedy}` makes one"
