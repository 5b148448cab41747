"""KServe's V1 protocol, which is TensorFlow Serving's for rows; the V2 protocol tells of the model.

Source: kserve.github.io/website, "V1 Inference Protocol" and "Open Inference Protocol (V2)". KServe's model
server writes NaN as null; `beam-predict serve`, which runs on it, as "NaN", and adds `model_version`. It also
adds its signature's name to the metadata, as V2's `parameters` add what is an extension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.remote.instances import InstancesFormat
from transforms.predictors.remote.json_decoding import read_json
from transforms.predictors.remote.wire import Metadata, Reply, Request

DATATYPES = {
    "string": "BYTES",
    "bool": "BOOL",
    "bfloat16": "BF16",
    **{f"float{bits}": f"FP{bits}" for bits in (16, 32, 64)},
    **{f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
"""The V2 protocol's names of types, by NumPy's."""

SIGNATURE_PARAMETER = "signature"
"""Under which the metadata's `parameters` tell the name of the signature."""

_DTYPES = {datatype: dtype for dtype, datatype in DATATYPES.items()}


@dataclass(frozen=True)
class KServeFormat(InstancesFormat):
    """See `WireFormat`."""

    VERSION_KEY: ClassVar[str] = "model_version"

    @property
    def target(self) -> str:
        """See `InstancesFormat.target`."""
        return f"{self.endpoint.url}{self.endpoint.model_path(None)}:predict"

    def metadata_request(self, version: str | None) -> Request | None:
        """See `WireFormat.metadata_request`."""
        return Request(f"{self.endpoint.url}/v2/models/{quote(self.endpoint.model, safe='')}", method="GET")

    def read_metadata(self, reply: Reply) -> Metadata:
        """Read the model's only signature, nameless unless it is told; none where the answer tells of none.

        KServe's server tells of no inputs and of no outputs where the model does not say what they are.
        """
        try:
            answer = read_json(reply.body)
            name = _name(answer.get("parameters"))
            signature = Signature(name, _specs(answer["inputs"]), _specs(answer["outputs"]))
            versions = answer.get("versions")
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return Metadata({})
        if not signature.inputs or not signature.outputs:
            return Metadata({})
        is_one = isinstance(versions, list) and len(versions) == 1
        return Metadata({name: signature}, str(versions[0]) if is_one else None)


def _name(parameters: Any) -> str:
    name = parameters.get(SIGNATURE_PARAMETER) if isinstance(parameters, Mapping) else None
    return name if isinstance(name, str) else ""


def _specs(tensors: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    named = {str(tensor["name"]): tensor for tensor in tensors}
    return tuple(
        TensorSpec(name, _DTYPES[named[name]["datatype"]], _shape(named[name]["shape"]))
        for name in sorted(named)
    )


def _shape(sizes: Sequence[int]) -> tuple[int | None, ...] | None:
    """Read a shape; one that lacks even the batch's dimension says that the rank is unknown."""
    return tuple(None if size < 0 else int(size) for size in sizes) or None
