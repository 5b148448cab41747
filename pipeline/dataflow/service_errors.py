"""Errors of asking Google: which there are, what they say, and whether the next request may succeed."""

from __future__ import annotations

from http import HTTPStatus

from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from requests.exceptions import RequestException

from pipeline.dataflow.api import NoCredentials, Unreachable
from pipeline.dataflow.job_messages import in_one_line, without_request
from transforms.predictors.remote.google_tokens import is_passing
from transforms.predictors.remote.http_errors import made_of

ERRORS = (GoogleAPIError, GoogleAuthError, RequestException)
"""What a request raises: an answer that is an error, no token for it, or no connection."""

NETWORK = "see to this machine's network, and to HTTPS_PROXY if it needs a proxy"


def reason(error: BaseException) -> str:
    """Return why a request has failed: the status and the answer, or why there is none."""
    if isinstance(error, GoogleAPICallError):
        return f"{code(error)}: {said(error)}"
    words = _of_the_system(error) if isinstance(error, (RequestException, GoogleAuthError)) else None
    return words or in_one_line(str(error))


def said(error: GoogleAPICallError) -> str:
    """Return what was answered, without the request, which Google's library puts before it."""
    return in_one_line(without_request(error.message))


def code(error: GoogleAPICallError) -> int:
    """Return the status of an answer."""
    return int(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)


def passes(error: BaseException, new: bool = False) -> bool:
    """Tell whether the next request may succeed.

    Args:
        error: What the last one has raised.
        new: Whether the job is so new that Dataflow may not know it everywhere.
    """
    if isinstance(error, GoogleAPICallError):
        later = [
            HTTPStatus.REQUEST_TIMEOUT,
            HTTPStatus.TOO_MANY_REQUESTS,
            *([HTTPStatus.NOT_FOUND] if new else []),
        ]
        return code(error) >= HTTPStatus.INTERNAL_SERVER_ERROR or code(error) in later
    if isinstance(error, NoCredentials):
        return isinstance(error, Unreachable)
    return isinstance(error, GoogleAPIError) or is_passing(error)


def _of_the_system(error: BaseException) -> str | None:
    """Return the operating system's words: libraries put their objects and addresses around them."""
    words = [cause.strerror for cause in made_of(error) if isinstance(cause, OSError) and cause.strerror]
    return words[-1] if words else None
