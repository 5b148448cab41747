"""What a Flex Template tells of its parameters, generated from the tables of flags.

    python -m pipeline.flex_template.metadata >deploy/metadata.json

The format: https://cloud.google.com/dataflow/docs/reference/rest/v1b3/TemplateMetadata. It is for forms in
which people fill in parameters, and for Dataflow, which refuses others, and texts that do not match, before
it starts a machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from options.accelerators import ACCELERATOR_EXAMPLE
from options.flags import Assignment, Bytes, Choice, Flag, Kind, PubSubPath, Share, Text, Whole
from options.parsing import GROUPS
from pipeline.flex_template.parameters import OPTIONS, OPTIONS_SEPARATOR, SEPARATOR

REQUIRED = ("output",)
LEFT_OUT = ("max_dead_letter_ratio", "no_wait")
"""What is about the end of the job, which a template does not wait for."""

BEAM_TITLE = "The workers"
BEAM_FLAGS = (
    Flag(
        "sdk_container_image",
        "The image of the workers. Not given: the template's own.",
        Text("IMAGE"),
    ),
    Flag(
        "number_of_worker_harness_threads",
        "Threads of each process on a worker. Not given: Dataflow chooses.",
        Whole(),
    ),
    Flag("disk_size_gb", "The disk of each worker, in GB. Not given: Dataflow chooses.", Whole()),
    Flag(
        OPTIONS,
        "Options of Dataflow's, such as streaming_mode_at_least_once, or "
        f"worker_accelerator={ACCELERATOR_EXAMPLE}.",
        Text("OPTION"),
        repeated=True,
    ),
)
"""Flags of Beam's that no field of Dataflow's own stands for."""

_SPELLED = {"bigquery": "BigQuery", "gb": "GB", "id": "ID", "ram": "RAM", "sdk": "SDK"}
_PICKERS = {"model": "GCS_READ_FOLDER", "class_names": "GCS_READ_FILE"}


def metadata() -> dict[str, Any]:
    """Make the content of `deploy/metadata.json`."""
    groups = [*((group.TITLE, group.FLAGS) for group in GROUPS), (BEAM_TITLE, BEAM_FLAGS)]
    return {
        "name": "beam-predict",
        "description": "Predict over files with a TensorFlow model, in batch or in streaming.",
        "streaming": True,
        "supportsAtLeastOnce": True,
        "supportsExactlyOnce": True,
        "defaultStreamingMode": "EXACTLY_ONCE",
        "parameters": [
            _parameter(flag, title) for title, flags in groups for flag in flags if flag.name not in LEFT_OUT
        ],
    }


def _parameter(flag: Flag, title: str) -> dict[str, Any]:
    return {
        "name": flag.name,
        "label": _label(flag.name),
        "helpText": _help(flag),
        "groupName": title,
        "isOptional": flag.name not in REQUIRED,
        **_typed(flag),
    }


def _label(name: str) -> str:
    first, *others = (_SPELLED.get(word, word) for word in name.split("_"))
    return " ".join([first[:1].upper() + first[1:], *others])


def _help(flag: Flag) -> str:
    several = _several(OPTIONS_SEPARATOR if flag.name == OPTIONS else SEPARATOR) if flag.repeated else ""
    if flag.kind is None or flag.default is None:
        return flag.help + several
    return f"{flag.help}{several} Default: {flag.kind.show(flag.default)}."


def _several(mark: str) -> str:
    return f" Several have a {mark} between them; a {mark} that belongs to one is written {mark}{mark}."


def _typed(flag: Flag) -> Mapping[str, Any]:
    """Tell which texts a parameter may have.

    A form fills in something for a parameter that has a type and no default, such as 0 or the first choice;
    so those are texts, and their regular expressions tell the rest.
    """
    if flag.kind is None:
        return {"paramType": "BOOLEAN", "defaultValue": "false"}
    if flag.repeated:
        return {"paramType": "TEXT"}
    regex = _regex(flag.kind)
    told = {"regexes": [f"^({regex})$"]} if regex else {}
    if flag.default is None:
        return {"paramType": _PICKERS.get(flag.name) or _picker(flag.kind), **told}
    default = {"defaultValue": flag.kind.show(flag.default)}
    if isinstance(flag.kind, Choice):
        options = [{"value": value, "label": value} for value in flag.kind.values]
        return {"paramType": "ENUM", "enumOptions": options, **default}
    return {"paramType": "NUMBER" if isinstance(flag.kind, Whole | Share) else "TEXT", **told, **default}


def _picker(kind: Kind) -> str:
    if isinstance(kind, PubSubPath):
        return "PUBSUB_SUBSCRIPTION" if "subscription" in kind.metavar else "PUBSUB_TOPIC"
    return "TEXT"


def _regex(kind: Kind) -> str | None:
    """Return what each text matches that a kind accepts; None where it is not worth telling."""
    if isinstance(kind, Whole):
        return "0*[1-9][0-9]*" if kind.minimum == 1 else "[0-9]+"
    if isinstance(kind, Choice):
        return "|".join(map(re.escape, kind.values))
    if isinstance(kind, PubSubPath):
        return kind.regex
    fixed = {Bytes: r"[0-9]+ *([KMGkmg][Ii]?[Bb])?", Share: r"[0-9.eE+-]+", Assignment: r"[^=]+=.*"}
    return fixed.get(type(kind))


if __name__ == "__main__":
    print(json.dumps(metadata(), indent=2, ensure_ascii=False))
