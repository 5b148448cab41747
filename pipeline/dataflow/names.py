"""What projects, regions, jobs and accounts may be called."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from apache_beam.options.pipeline_options import GoogleCloudOptions

# https://cloud.google.com/dataflow/docs/resources/locations, for suggestions; Dataflow itself is asked.
REGIONS = (
    *("africa-south1", "asia-east1", "asia-east2", "asia-northeast1", "asia-northeast2", "asia-northeast3"),
    *("asia-south1", "asia-south2", "asia-southeast1", "asia-southeast2", "australia-southeast1"),
    *("australia-southeast2", "europe-central2", "europe-north1", "europe-north2", "europe-southwest1"),
    *("europe-west1", "europe-west10", "europe-west12", "europe-west2", "europe-west3", "europe-west4"),
    *("europe-west6", "europe-west8", "europe-west9", "me-central1", "me-central2", "me-west1"),
    *("northamerica-northeast1", "northamerica-northeast2", "northamerica-south1", "southamerica-east1"),
    *("southamerica-west1", "us-central1", "us-east1", "us-east4", "us-east5", "us-south1", "us-west1"),
    *("us-west2", "us-west3", "us-west4"),
)

_PROJECT = re.compile(r"([a-z][a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_REGION = re.compile(r"[a-z]+-[a-z]+\d+")
_JOB_NAME = re.compile(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?")
_EMAIL = re.compile(r"[a-z0-9][a-z0-9.-]*@([a-z0-9-]+\.)+gserviceaccount\.com")


def form_problems(cloud: GoogleCloudOptions) -> Iterator[str]:
    """Tell of names that are none in their form, whatever there is; a missing one is left to others."""
    yield from project_problems(cloud.project) if cloud.project else ()
    yield from region_problems(cloud.region) if cloud.region else ()
    yield from job_name_problems(cloud.job_name)
    yield from email_problems(cloud.service_account_email)


def project_problems(project: str | None) -> Iterator[str]:
    """Tell what is wrong with the id of a project."""
    if not project:
        yield "--project is missing: pass --project my-project"
    elif project.isdigit():
        yield f"--project {project} is a project's number; give its id, as `gcloud projects list` shows it"
    elif not _PROJECT.fullmatch(project):
        yield (
            f"--project {project} is no id of a project: 6 to 30 lower-case letters, digits and -, a letter "
            "first; `gcloud projects list` shows yours"
        )


def region_problems(region: str | None) -> Iterator[str]:
    """Tell what is wrong with the form of a region's name."""
    if not region:
        yield "--region is missing: pass --region us-central1, or where your data are"
    elif re.fullmatch(rf"{_REGION.pattern}-[a-z]", region):
        yield f"--region {region} is a zone; its region is {region[:-2]}"
    elif not _REGION.fullmatch(region):
        yield from unknown_region(region)


def unknown_region(region: str | None) -> Iterator[str]:
    """Tell that a region is not known, and which may be meant."""
    if region and region not in REGIONS:
        close = difflib.get_close_matches(region.lower(), REGIONS, n=1)
        meant = f"; did you mean {close[0]}?" if close else "; `gcloud compute regions list` shows them"
        yield f"--region {region} is no region of Dataflow's{meant}"


def job_name_problems(name: str | None) -> Iterator[str]:
    """Tell what is wrong with the name of a job; Beam makes one where there is none."""
    if name is None or _JOB_NAME.fullmatch(name):
        return
    better = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")
    suggested = f", such as {better}" if _JOB_NAME.fullmatch(better) else ""
    yield (
        f"--job_name {name}: must be lower-case letters, digits and -, with a letter first and no - last"
        f"{suggested}"
    )


def email_problems(email: str | None) -> Iterator[str]:
    """Tell what is wrong with the address of a service account."""
    if email is not None and not _EMAIL.fullmatch(email):
        yield (
            f"--service_account_email {email}: must be NAME@PROJECT.iam.gserviceaccount.com; "
            "`gcloud iam service-accounts list` shows them"
        )
