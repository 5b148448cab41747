"""Vertex AI's online prediction, on shared and on dedicated endpoints.

Source: cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/predict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from transforms.predictors.base import TensorSpec
from transforms.predictors.remote.instances import InstancesFormat
from transforms.predictors.remote.json_decoding import answer_failed
from transforms.predictors.remote.json_encoding import Pair, encode_json
from transforms.predictors.remote.wire import Action, Metadata, Reply, Request


@dataclass(frozen=True)
class VertexFormat(InstancesFormat):
    """See `WireFormat`.

    Attributes:
        parameters: What the model's container gets beside the instances; None for nothing.
    """

    parameters: Mapping[str, Any] | None = None

    VERSION_KEY: ClassVar[str] = "deployedModelId"

    @property
    def target(self) -> str:
        """See `InstancesFormat.target`."""
        return f"{self.endpoint.url}:predict"

    @property
    def others(self) -> Sequence[Pair]:
        """See `InstancesFormat.others`."""
        return () if self.parameters is None else ((b'"parameters"', (encode_json(self.parameters),)),)

    def describe(self, reply: Reply) -> tuple[TensorSpec, ...]:
        """See `WireFormat.describe`; all numbers are float64, since Vertex AI may write 1.0 as 1."""
        return tuple(
            replace(spec, dtype="float64") if spec.dtype == "int64" else spec
            for spec in super().describe(reply)
        )

    def metadata_request(self, version: str | None) -> Request | None:
        """See `WireFormat.metadata_request`: there is none."""
        return None

    def read_metadata(self, reply: Reply) -> Metadata:
        """See `WireFormat.read_metadata`."""
        raise answer_failed("is no metadata, of which Vertex AI has none", reply.body, Action.GIVE_UP)
