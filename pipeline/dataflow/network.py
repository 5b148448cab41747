"""Whether workers reach what they need: what they have no public addresses for, a launcher cannot try."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Iterator, Sequence

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    WorkerOptions,
)

from options import EndpointOptions
from pipeline.dataflow.checklist import NotChecked
from pipeline.dataflow.image_versions import Image

_GOOGLES = (
    "googleapis.com",
    "pkg.dev",
    "gcr.io",
    "run.app",
    "cloudfunctions.net",
    "appspot.com",
    "vertexai.goog",
)
"""What Private Google Access leads to: https://cloud.google.com/vpc/docs/configure-private-google-access."""

_PRIVATE = ("internal", "local", "localhost")


def network_problems(options: PipelineOptions) -> Sequence[str]:
    """See whether workers without public addresses need any.

    Raises:
        NotChecked: They have none: then all depends on the network. What to do is told.
    """
    if options.view_as(WorkerOptions).use_public_ips is not False:
        return []
    outside = list(_outside(options))
    raise NotChecked(_through_nat(outside, options) if outside else _private_google_access(options))


def is_outside(host: str) -> bool:
    """Tell a host that is neither Google's nor in a private network.

    Args:
        host: A name or an address, without a port.
    """
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not any(f".{host}".endswith(f".{name}") for name in (*_GOOGLES, *_PRIVATE))


def _outside(options: PipelineOptions) -> Iterator[str]:
    """Name what the workers of a job need, and is outside Google."""
    image = options.view_as(WorkerOptions).sdk_container_image
    if not image or options.view_as(SetupOptions).setup_file:
        yield "the package index, which --setup_file installs from,"
    if image and is_outside(_registry(image)):
        yield f"--sdk_container_image {image}"
    endpoint = options.view_as(EndpointOptions)
    if endpoint.given("endpoint") and not endpoint.validate() and is_outside(endpoint.parsed.host):
        yield f"--endpoint {endpoint.endpoint}"


def _registry(image: str) -> str:
    """Return the host that an image is on; nothing where it is told elsewhere that the name is none."""
    try:
        return Image.parse(image).registry.partition(":")[0]
    except ValueError:
        return ""


def _through_nat(outside: Sequence[str], options: PipelineOptions) -> str:
    region = options.view_as(GoogleCloudOptions).region or "REGION"
    verb = "is" if len(outside) == 1 else "are"
    return (
        f"{' and '.join(outside)} {verb} outside Google, which workers without public addresses reach only "
        f"through Cloud NAT; set one up (`gcloud compute routers nats create NAT --router=ROUTER "
        f"--region={region} --auto-allocate-nat-external-ips --nat-all-subnet-ip-ranges`), or set "
        "PUBLIC_IPS=yes (--use_public_ips)"
    )


def _private_google_access(options: PipelineOptions) -> str:
    workers, cloud = options.view_as(WorkerOptions), options.view_as(GoogleCloudOptions)
    # The network of a project at its beginning has a subnetwork of its own name in each region.
    subnetwork = workers.subnetwork or workers.network or "default"
    parts = subnetwork.split("/")
    project = parts[parts.index("projects") + 1] if "projects" in parts[:-1] else cloud.project or "PROJECT"
    command = (
        f"gcloud compute networks subnets describe {shlex.quote(parts[-1])} --project={project} "
        f"--region={cloud.region or 'REGION'} --format='value(privateIpGoogleAccess)'"
    )
    return f"whether subnetwork {parts[-1]} has Private Google Access; `{command}` tells"
