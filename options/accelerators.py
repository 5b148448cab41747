"""Which GPU a worker has, and which machines can have it.

The types of Dataflow: https://cloud.google.com/dataflow/docs/gpu/gpu-support; their machines:
https://cloud.google.com/compute/docs/gpus.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from options.flags import Text

ACCELERATOR_EXAMPLE = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"
MACHINE_EXAMPLE = "n1-standard-4"
"""A machine that can have the GPU of `ACCELERATOR_EXAMPLE`."""


@dataclass(frozen=True)
class Machines:
    """The machine types that can have a GPU.

    Attributes:
        name: What they are called together.
        prefixes: How their names begin.
        example: One of them.
        usual: Whether Dataflow chooses from these where no machine type is given.
    """

    name: str
    prefixes: tuple[str, ...]
    example: str
    usual: bool = False

    def include(self, machine_type: str) -> bool:
        """Tell whether a machine type, or the URL of one, is among them."""
        return machine_type.rpartition("/")[2].startswith(self.prefixes)


_N1 = Machines("n1", ("n1-", "custom-"), MACHINE_EXAMPLE, usual=True)  # custom-4-16384 is an n1
_A2_HIGH = Machines("a2-highgpu or a2-megagpu", ("a2-highgpu-", "a2-megagpu-"), "a2-highgpu-1g")
_A3_HIGH = Machines("a3-highgpu or a3-edgegpu", ("a3-highgpu-", "a3-edgegpu-"), "a3-highgpu-1g")

MACHINES: Mapping[str, Machines] = {
    "nvidia-tesla-t4": _N1,
    "nvidia-tesla-p4": _N1,
    "nvidia-tesla-p100": _N1,
    "nvidia-tesla-v100": _N1,
    "nvidia-l4": Machines("g2", ("g2-",), "g2-standard-4"),
    "nvidia-rtx-pro-6000": Machines("g4", ("g4-",), "g4-standard-48"),
    "nvidia-tesla-a100": _A2_HIGH,
    "nvidia-a100-80gb": Machines("a2-ultragpu", ("a2-ultragpu-",), "a2-ultragpu-1g"),
    "nvidia-h100-80gb": _A3_HIGH,
    "nvidia-h100-mega-80gb": Machines("a3-megagpu", ("a3-megagpu-",), "a3-megagpu-8g"),
    "nvidia-h200-141gb": Machines("a3-ultragpu", ("a3-ultragpu-",), "a3-ultragpu-8g"),
}
"""The machines of each GPU; those of others are not known, and may be any."""


class Accelerator(Text):
    """What Dataflow calls an accelerator: `type:TYPE;count:N;...`; Beam passes on any text."""

    def __init__(self) -> None:
        super().__init__("ACCELERATOR")

    def parse(self, text: str) -> str:
        """See `Kind.parse`."""
        parts = _parts(super().parse(text))
        wrong = not parts.get("type") or any(not re.fullmatch(r"[a-z][\w-]*", name) for name in parts)
        if "nvidia" in parts.get("type", ""):
            count = parts.get("count", "")
            wrong |= not re.fullmatch(r"[1-9]\d*", count) or "install-nvidia-driver" not in parts
        if wrong:
            raise ValueError(f"must be such as '{ACCELERATOR_EXAMPLE}', in quotes")
        return text


def wrong_machine_of_step(accelerator: str, machine_type: str | None) -> str | None:
    """Tell if the GPU of `--predict_accelerator` does not go with its machine.

    An accelerator that is a resource hint may name a machine type of its own; it wins over the one of all
    workers: https://cloud.google.com/dataflow/docs/guides/right-fitting#available_resource_hints.

    Args:
        accelerator: The accelerator, as `Accelerator` takes it.
        machine_type: What `--machine_type` says, if anything.
    """
    parts = _parts(accelerator)
    gpu, own = parts["type"], parts.get("machine_type")
    machines = MACHINES.get(gpu)
    if machines is None or machines.include(own or machine_type or machines.example):
        return None
    if own:
        return (
            f"--predict_accelerator {accelerator}: a machine {own} cannot have this GPU, only "
            f"{machines.name} machines can; say machine_type:{machines.example}, for example"
        )
    return (
        f"--machine_type {machine_type} cannot have the {gpu} of --predict_accelerator: only "
        f"{machines.name} machines can; give the step that predicts one of its own, --predict_accelerator "
        f"'{accelerator};machine_type:{machines.example}', or all workers, --machine_type {machines.example}"
    )


def wrong_machine_of_job(accelerator: str, machine_type: str | None) -> str | None:
    """Tell if the GPU of `worker_accelerator` does not go with the machine of all workers.

    See https://cloud.google.com/dataflow/docs/gpu/use-l4-gpus for the GPUs that need a machine type.

    Args:
        accelerator: The accelerator, as `Accelerator` takes it.
        machine_type: What `--machine_type` says, if anything.
    """
    gpu = _parts(accelerator)["type"]
    machines = MACHINES.get(gpu)
    if machines is None or (machines.usual if machine_type is None else machines.include(machine_type)):
        return None
    given = f"--machine_type {machine_type} cannot have" if machine_type else "--machine_type is missing for"
    return (
        f"{given} the {gpu} of worker_accelerator: only {machines.name} machines can; pass --machine_type "
        f"{machines.example}, for example"
    )


def _parts(accelerator: str) -> dict[str, str]:
    return dict(part.partition(":")[::2] for part in accelerator.split(";"))
