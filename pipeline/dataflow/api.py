"""Asking Dataflow, on the launching machine: for the jobs that run, and for what becomes of one."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions

SECONDS = 5.0
_SECONDS_OF_A_WATCH = 30.0

_FILE_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
_WITHOUT_CREDENTIALS = (
    "no credentials were found; run `gcloud auth application-default login`, or set "
    f"{_FILE_VARIABLE} to the file of a service account"
)


class NoCredentials(Exception):
    """There are none, or they are not valid; the message has the remedy."""


class Unreachable(NoCredentials):
    """There are some, but who would tell whether they are valid does not answer; later it may."""


@dataclass(frozen=True)
class RunningJob:
    """A job that has not ended."""

    name: str
    job_id: str


def find_credentials(cloud: GoogleCloudOptions, seconds: float = SECONDS) -> Any:
    """Find the credentials that Beam will find, and see that they are valid.

    Args:
        cloud: Says whether there are to be any, and for what.
        seconds: How long to look. Google's library asks for up to half a minute whether it runs on Google
            Cloud, which answers at once if it does.

    Raises:
        Unreachable: There are some, and nobody answers who knows whether they are valid.
        NoCredentials: There are none, or they are not valid.
    """
    from google.auth.credentials import AnonymousCredentials

    if cloud.no_auth:
        return AnonymousCredentials()
    search = _Search(cloud.gcp_oauth_scopes)
    thread = threading.Thread(target=search.run, daemon=True)
    thread.start()
    thread.join(seconds)
    if search.problem is not None:
        raise search.problem
    if search.found is None:
        raise NoCredentials(_WITHOUT_CREDENTIALS)
    if not search.is_valid:
        raise _unreachable(f"no answer in {seconds:g} s")
    return search.found


class _Search:
    """What a thread has found, which may take too long."""

    def __init__(self, scopes: list[str]) -> None:
        self.found: Any = None
        self.is_valid = False
        self.problem: NoCredentials | None = None
        self._scopes = scopes

    def run(self) -> None:
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
        from google.auth.transport.requests import Request
        from requests.exceptions import RequestException

        try:
            self.found, _ = google.auth.default(scopes=self._scopes)
            self.found.refresh(Request())
            self.is_valid = True
        except DefaultCredentialsError as error:
            self.problem = _none_found(error)
        except (GoogleAuthError, RequestException, ValueError) as error:
            self.problem = _not_valid(error)


def _none_found(error: Exception) -> NoCredentials:
    """Tell why, where a file is named, or has been looked into."""
    file, reason = os.environ.get(_FILE_VARIABLE), str(error).partition("\n")[0]
    if file:
        return NoCredentials(
            f"{_FILE_VARIABLE} {file}: there are no credentials ({reason}); set it to the file of a service "
            "account, or unset it and run `gcloud auth application-default login`"
        )
    return NoCredentials(f"{_WITHOUT_CREDENTIALS} ({reason})" if "file" in reason else _WITHOUT_CREDENTIALS)


def _not_valid(error: Exception) -> NoCredentials:
    from pipeline.dataflow.service_errors import passes, reason

    if not isinstance(error, ValueError) and passes(error):
        return _unreachable(reason(error))
    return NoCredentials(
        f"the credentials are not valid ({reason(error)}); run `gcloud auth application-default login` "
        f"again, or set {_FILE_VARIABLE} to another file"
    )


def _unreachable(why: str) -> Unreachable:
    from pipeline.dataflow.service_errors import NETWORK

    return Unreachable(
        f"Google, which tells whether the credentials are valid, cannot be reached ({why}); {NETWORK}"
    )


def running_jobs(cloud: GoogleCloudOptions, credentials: Any) -> list[RunningJob]:
    """List the jobs that have not ended, of the project in the region.

    Raises:
        google.api_core.exceptions.GoogleAPICallError: Dataflow does not grant it.
    """
    from google.cloud import dataflow_v1beta3 as api

    request = api.ListJobsRequest(
        project_id=cloud.project, location=cloud.region, filter=api.ListJobsRequest.Filter.ACTIVE
    )
    with api.JobsV1Beta3Client(**_connection(cloud, credentials)) as client:
        return [
            RunningJob(job.name, job.id) for job in client.list_jobs(request, timeout=SECONDS, retry=None)
        ]


class WatchedJob:
    """A job, as its launcher sees it.

    Its methods ask once, and raise what Google's libraries do: who watches for hours decides what to make
    of it.

    Args:
        job_id: Of the job.
        cloud: Where it runs.
        credentials: Of who watches.
    """

    def __init__(self, job_id: str, cloud: GoogleCloudOptions, credentials: Any) -> None:
        from google.cloud import dataflow_v1beta3 as api

        connection = _connection(cloud, credentials)
        self._place = {"project_id": cloud.project, "location": cloud.region, "job_id": job_id}
        self._jobs = api.JobsV1Beta3Client(**connection)
        self._messages = api.MessagesV1Beta3Client(**connection)

    def now(self) -> Any:
        """Return the job as it is, a `google.cloud.dataflow_v1beta3.Job`."""
        from google.cloud import dataflow_v1beta3 as api

        return self._jobs.get_job(api.GetJobRequest(self._place), timeout=_SECONDS_OF_A_WATCH, retry=None)

    def complaints(self, since: datetime | None) -> list[Any]:
        """List its warnings and errors, `google.cloud.dataflow_v1beta3.JobMessage`s, in their order.

        Args:
            since: The earliest time of them; None for all.
        """
        from google.cloud import dataflow_v1beta3 as api

        request = api.ListJobMessagesRequest(
            self._place,
            minimum_importance=api.JobMessageImportance.JOB_MESSAGE_WARNING,
            start_time=since,
        )
        listed = self._messages.list_job_messages(request, timeout=_SECONDS_OF_A_WATCH, retry=None)
        return sorted(listed, key=lambda message: message.time)

    def close(self) -> None:
        """End the connections."""
        clients: tuple[Any, ...] = (self._jobs, self._messages)
        for client in clients:
            client.transport.close()


def _connection(cloud: GoogleCloudOptions, credentials: Any) -> dict[str, Any]:
    from google.api_core.client_options import ClientOptions

    endpoint = ClientOptions(api_endpoint=cloud.dataflow_endpoint.rstrip("/"))
    return {"credentials": credentials, "transport": "rest", "client_options": endpoint}
