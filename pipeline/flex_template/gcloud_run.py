"""From the flags of a job to those of `gcloud dataflow flex-template run`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from options.flags import Flag
from options.labels import read_labels
from pipeline.flex_template.parameters import OPTIONS, OPTIONS_SEPARATOR, join_values, own_flags
from transforms import storage
from transforms.errors import ReadError, UsageError

_MAX_SPEC_BYTES = 10 << 20
_FIELDS = {
    "project": "project",
    "region": "region",
    "temp_location": "temp-location",
    "staging_location": "staging-location",
    "service_account_email": "service-account-email",
    "network": "network",
    "subnetwork": "subnetwork",
    "machine_type": "worker-machine-type",
    "num_workers": "num-workers",
    "max_num_workers": "max-workers",
    "worker_region": "worker-region",
    "worker_zone": "worker-zone",
    "dataflow_kms_key": "dataflow-kms-key",
    "flexrs_goal": "flexrs-goal",
    "labels": "additional-user-labels",
    "experiments": "additional-experiments",
    "transform_name_mapping": "transform-name-mappings",
}
"""What gcloud calls the flags of Beam's for which a launch has fields of its own."""

_SWITCHES = {
    ("use_public_ips", False): "disable-public-ips",
    ("enable_streaming_engine", True): "enable-streaming-engine",
    ("update", True): "update",
}
_HERE = {
    "dataflow_endpoint",
    "job_name",
    "no_auth",
    "no_wait",
    "runner",
    "save_main_session",
    "setup_file",
    "skip_preflight",
    "streaming",
}
"""What the launch decides, or this process alone has a use for."""

_DELIMITERS = ("~", "|", "#", "!", "@", "%", "+")


@dataclass(frozen=True)
class Spec:
    """A template's description, as `gcloud dataflow flex-template build` has written it.

    Attributes:
        image: The template's image.
        parameters: The names of its parameters; none if it tells none.
    """

    image: str
    parameters: frozenset[str]

    @classmethod
    def read(cls, template_file: str) -> Spec:
        """Read it from Cloud Storage.

        Raises:
            UsageError: It is not there, or is none.
        """
        try:
            spec = json.loads(storage.read(template_file, _MAX_SPEC_BYTES))
            told = (spec.get("metadata") or {}).get("parameters", ())
            return cls(spec["image"], frozenset(parameter["name"] for parameter in told))
        except ReadError as error:
            problem = f"{error}; `./run_dataflow.sh template build` writes it"
        except (ValueError, TypeError, KeyError, AttributeError):
            problem = "it is no description of a Flex Template; `./run_dataflow.sh template build` writes one"
        raise UsageError([f"--template_file {template_file}: {problem}"])


def run_arguments(options: PipelineOptions, template_file: str) -> list[str]:
    """Return what follows `gcloud dataflow flex-template run`.

    Raises:
        UsageError: A value cannot be written so that gcloud reads it.
    """
    given = _given(options)
    if "labels" in given:
        given["labels"] = list(_labels(given["labels"]))
    fields = [f"--{_FIELDS[name]}={_field(value)}" for name, value in given.items() if name in _FIELDS]
    switches = [f"--{flag}" for (name, value), flag in _SWITCHES.items() if given.get(name) is value]
    parameters = [f"--parameters={_listed([f'{name}={v}'])}" for name, v in _parameters(options).items()]
    name = options.view_as(GoogleCloudOptions).job_name or "JOB_NAME"
    return [name, f"--template-file-gcs-location={template_file}", *fields, *switches, *parameters]


def not_in_template(options: PipelineOptions, spec: Spec) -> Iterator[str]:
    """Tell of flags that the template has no parameters for."""
    for name in _parameters(options):
        if spec.parameters and name not in spec.parameters:
            yield (
                f"--{name} is no parameter of the template; leave it out, or build the template anew with "
                "`./run_dataflow.sh template build` if it is older than the flag"
            )


def _given(options: PipelineOptions) -> dict[str, Any]:
    values: dict[str, Any] = options.get_all_options(drop_default=True)
    return values


def _parameters(options: PipelineOptions) -> dict[str, str]:
    elsewhere = {*_FIELDS, *_HERE, *(name for name, _ in _SWITCHES)}
    given = {name: value for name, value in _given(options).items() if name not in elsewhere}
    return {name: _parameter(name, value) for name, value in given.items()}


def _parameter(name: str, value: Any) -> str:
    if name == OPTIONS:
        return join_values(value, OPTIONS_SEPARATOR)
    flag = own_flags().get(name)
    return _own(flag, value) if flag else _field(value)


def _own(flag: Flag, value: Any) -> str:
    """Write the value of a flag of this project's as a parameter."""
    if flag.kind is None:
        return "true"
    return join_values(map(flag.kind.show, value)) if flag.repeated else flag.kind.show(value)


def _field(value: Any) -> str:
    """Write the value of a flag of Beam's."""
    if isinstance(value, Mapping):
        return _listed(f"{name}={text}" for name, text in value.items())
    if isinstance(value, list):
        return _listed(value)
    return "true" if value is True else str(value)


def _labels(texts: Iterable[str]) -> Iterator[str]:
    """Write labels as NAME=VALUE; what is none is told with the flags, and left as it is."""
    for text in texts:
        try:
            yield from (f"{name}={value}" for name, value in read_labels(text).items())
        except ValueError:
            yield text


def _listed(items: Iterable[str]) -> str:
    """Write a list for gcloud, which parts it at commas, or at what stands between ^ at its beginning."""
    listed = list(items)
    whole = "".join(listed)
    if "," not in whole and not whole.startswith("^"):
        return ",".join(listed)
    delimiter = next((mark for mark in _DELIMITERS if mark not in whole), None)
    if delimiter is None:
        raise UsageError(
            [f"{whole}: gcloud cannot be handed what has all of {' '.join(_DELIMITERS)}; leave one out"]
        )
    return f"^{delimiter}^{delimiter.join(listed)}"
