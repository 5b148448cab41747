"""Asking Dataflow, on the launching machine: for the jobs that run, and for what becomes of one."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions

SECONDS = 5.0
_SECONDS_OF_A_WATCH = 30.0

_WITHOUT_CREDENTIALS = (
    "no credentials were found; run `gcloud auth application-default login`, or set "
    "GOOGLE_APPLICATION_CREDENTIALS to the file of a service account"
)


class NoCredentials(Exception):
    """There are none, or they are not valid; the message has the remedy."""


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
        NoCredentials: There are none.
    """
    from google.auth.credentials import AnonymousCredentials

    if cloud.no_auth:
        return AnonymousCredentials()
    found: list[Any] = []
    thread = threading.Thread(target=_search, args=(cloud.gcp_oauth_scopes, found), daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise NoCredentials(_WITHOUT_CREDENTIALS)
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def _search(scopes: list[str], found: list[Any]) -> None:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
    from google.auth.transport.requests import Request

    try:
        credentials, _ = google.auth.default(scopes=scopes)
        credentials.refresh(Request())
        found.append(credentials)
    except DefaultCredentialsError as error:
        reason = f" ({error})" if "File" in str(error) else ""
        found.append(NoCredentials(f"{_WITHOUT_CREDENTIALS}{reason}"))
    except (GoogleAuthError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        found.append(
            NoCredentials(
                f"the credentials are not valid ({reason}); run `gcloud auth application-default login` "
                "again, or set GOOGLE_APPLICATION_CREDENTIALS to another file"
            )
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
