"""Why a place cannot be written, in words: Google's library raises what it was answered."""

from __future__ import annotations

from http import HTTPStatus


def why(error: BaseException, place: str) -> str:
    """Tell why a probe could not be written."""
    status = _status(error)
    if place.startswith("gs://") and status == HTTPStatus.NOT_FOUND:
        return f"there is no bucket {bucket_of(place)}"
    if place.startswith("gs://") and status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED):
        return f"you have no right to; roles/storage.objectAdmin on {bucket_of(place)} is one"
    return str(error).partition("\n")[0]


def bucket_of(place: str) -> str:
    """Return `gs://BUCKET` of what is in it."""
    return "/".join(place.split("/")[:3])


def _status(error: BaseException) -> int | None:
    """Return the status that a server answered with: of one of the two kinds of errors that uploads raise."""
    response = getattr(error, "response", None)
    code = getattr(response, "status_code", None) or getattr(error, "code", None)
    return int(code) if isinstance(code, int) else None
