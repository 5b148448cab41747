"""The REST interfaces that endpoints have; each checks a request against its documentation, and answers it.

- TensorFlow Serving: tensorflow.org/tfx/serving/api_rest; `http_rest_api_util.cc` and `json_tensor.cc` in
  github.com/tensorflow/serving.
- Vertex AI: cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/predict.
- Multipart: RFC 7578; the answer is `{"result": ...}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote

import numpy as np
import orjson

from emulators.rest_values import Refused, columns_json, read_json, read_value, rows_json
from emulators.served import Served
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.functions import Tensors
from transforms.predictors.saved_model import DEFAULT_SIGNATURE

_TF_PREDICT = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?:predict"
)
_TF_GET = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?(?P<what>/metadata)?"
)

_GOOGLE_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

_STATUSES = {3: 400, 4: 504, 5: 404, 8: 429, 9: 400, 11: 400, 12: 501, 14: 503}
"""Of HTTP, by gRPC's code: `ToHTTPStatusCode` in TensorFlow Serving's `http_server.cc`."""


@dataclass(frozen=True)
class Call:
    """A request that has come whole."""

    method: str
    path: str
    content_type: str
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


@dataclass(frozen=True)
class Handled:
    """What an interface makes of a request.

    Attributes:
        answer: What is sent back.
        items: The items that it predicted on, in order.
    """

    answer: Answer
    items: Sequence[Mapping[str, Any]] = ()


class Api(Protocol):
    """An interface."""

    def handle(self, call: Call) -> Handled:
        """Answer a request.

        Raises:
            Refused: With an error.
        """

    def error(self, status: int, message: str) -> bytes:
        """Write the body of an error."""


@dataclass
class TfServingApi:
    """TensorFlow Serving's.

    Attributes:
        models: The signatures by model, version and name.
        labels: The versions that they stand for, by model and label.
    """

    models: dict[str, dict[int, Mapping[str, Served]]]
    labels: dict[str, dict[str, int]] = field(default_factory=dict)

    def handle(self, call: Call) -> Handled:
        """See `Api`."""
        if call.method == "GET" and (match := _TF_GET.fullmatch(call.path)):
            return Handled(Answer(body=orjson.dumps(self._described(match))))
        match = _TF_PREDICT.fullmatch(call.path) if call.method == "POST" else None
        if match is None:
            raise Refused(f"Malformed request: {call.method} {call.path}")
        _check_type(call, "application/json")
        return self._predict(match, call.body)

    def error(self, status: int, message: str) -> bytes:
        """See `Api`."""
        return json.dumps({"error": message}, indent=4).encode()

    def _predict(self, match: re.Match[str], body: bytes) -> Handled:
        sent = read_json(body, with_nan=True)
        _check_names(sent, {"signature_name", "instances", "inputs"})
        name = sent.get("signature_name", DEFAULT_SIGNATURE)
        if not isinstance(name, str):
            raise Refused("not formatted correctly. 'signature_name' key must be a string value.")
        _, model = self._model(match)
        if name not in model:
            raise Refused(f'Serving signature name: "{name}" not found in signature def', is_violation=False)
        served = model[name]
        if sent.keys() >= {"instances", "inputs"}:
            raise Refused("expecting only one of 'inputs' or 'instances' keys to exist")
        if "inputs" in sent:
            tensors = _from_columns(sent["inputs"], served.signature)
            written = columns_json(_computed(served, tensors), served.signature.outputs)
            return Handled(Answer(body=b'{"outputs":%b}' % written), _items(tensors, served.signature))
        if "instances" not in sent:
            raise Refused("Missing 'inputs' or 'instances' key")
        tensors = _from_rows(sent["instances"], served.signature)
        predictions = rows_json(_computed(served, tensors), served.signature.outputs)
        answer = Answer(body=b'{"predictions":[%b]}' % b",".join(predictions))
        return Handled(answer, _items(tensors, served.signature))

    def _model(self, match: re.Match[str]) -> tuple[int, Mapping[str, Served]]:
        name, label = unquote(match["model"]), match["label"]
        versions = self.models.get(name, {})
        wanted, version = f"Latest({name})", max(versions, default=None)
        if match["version"]:
            version = int(match["version"])
            wanted = f"Specific({name}, {version})"
        if label:
            version = self.labels.get(name, {}).get(unquote(label))
            if version is None:
                raise Refused(f"Unrecognized servable version label: {label}", is_violation=False)
        if version not in versions:
            raise Refused(f"Servable not found for request: {wanted}", 404, is_violation=False)
        return version, versions[version]

    def _described(self, match: re.Match[str]) -> dict[str, Any]:
        version, model = self._model(match)
        if match["what"]:
            definitions = {name: _signature_def(served.signature) for name, served in model.items()}
            init = {"inputs": {}, "outputs": {}, "method_name": ""}  # as TensorFlow 2 writes into each
            return {
                "model_spec": {
                    "name": unquote(match["model"]),
                    "signature_name": "",
                    "version": str(version),
                },
                "metadata": {
                    "signature_def": {"signature_def": {"__saved_model_init_op": init, **definitions}}
                },
            }
        status = {"error_code": "OK", "error_message": ""}
        return {"model_version_status": [{"version": str(version), "state": "AVAILABLE", "status": status}]}


@dataclass
class VertexApi:
    """Vertex AI's.

    Attributes:
        resource: `projects/P/locations/L/endpoints/E`.
        served: The only signature.
        deployed_model_id: Which model the answers are told to be of.
        parameters: What must come beside the instances; None for nothing.
    """

    resource: str
    served: Served
    deployed_model_id: str = "8124"
    parameters: Mapping[str, Any] | None = None

    def handle(self, call: Call) -> Handled:
        """See `Api`."""
        if call.method != "POST" or not call.path.endswith(":predict"):
            raise Refused(f"The requested URL {call.path} was not found on this server.", 404)
        if call.path != f"/v1/{self.resource}:predict":
            raise Refused(f"Endpoint `{call.path}` not found.", 404, is_violation=False)
        _check_type(call, "application/json")
        sent = read_json(call.body, with_nan=False)
        _check_names(sent, {"instances", "parameters"})
        if sent.get("parameters") != self.parameters:
            raise Refused(f"parameters are {sent.get('parameters')}, not {self.parameters}")
        tensors = _from_rows(sent.get("instances"), self.served.signature)
        predictions = rows_json(_computed(self.served, tensors), self.served.signature.outputs)
        project = self.resource.partition("/endpoints/")[0]
        other = {
            "deployedModelId": self.deployed_model_id,
            "model": f"{project}/models/77",
            "modelDisplayName": "model",
            "modelVersionId": "1",
        }
        body = b'{"predictions":[%b],%b' % (b",".join(predictions), orjson.dumps(other)[1:])
        return Handled(Answer(body=body), _items(tensors, self.served.signature))

    def error(self, status: int, message: str) -> bytes:
        """See `Api`."""
        error = {"code": status, "message": message, "status": _GOOGLE_NAMES.get(status, "UNKNOWN")}
        return json.dumps({"error": error}, indent=2).encode()


@dataclass
class MultipartApi:
    """A container that takes one file a request.

    Attributes:
        path: Where it takes it.
        served: The only signature; each input is a field of the form.
        file_input: Which of its inputs is the file.
    """

    path: str
    served: Served
    file_input: str

    def handle(self, call: Call) -> Handled:
        """See `Api`."""
        if (call.method, call.path) != ("POST", self.path):
            raise Refused("Not Found", 404)
        match = re.fullmatch(
            r'multipart/form-data; boundary=(?:"([^"]{1,70})"|([\w\'+.-]{1,70}))', call.content_type
        )
        if match is None:
            raise Refused(
                f"the content type is {call.content_type!r}, not multipart/form-data with a boundary"
            )
        fields = _form_fields(call.body, (match[1] or match[2]).encode())
        specs = self.served.signature.inputs
        if sorted(name for name, _, _ in fields) != sorted(spec.name for spec in specs):
            raise Refused(f"the fields are {[name for name, _, _ in fields]}", 422)
        tensors = {name: self._value(name, is_file, content) for name, is_file, content in fields}
        (result,) = rows_json(_computed(self.served, tensors), self.served.signature.outputs)
        answer = Answer(body=b'{"result":%b}' % result)
        return Handled(answer, _items(tensors, self.served.signature))

    def error(self, status: int, message: str) -> bytes:
        """See `Api`."""
        return orjson.dumps({"detail": message})

    def _value(self, name: str, is_file: bool, content: bytes) -> np.ndarray[Any, Any]:
        spec = next(spec for spec in self.served.signature.inputs if spec.name == name)
        if is_file is not (name == self.file_input):
            raise Refused(f"the field {name} must{' not' if is_file else ''} be a file", 422)
        value = np.array([content], object)
        if not is_file and spec.dtype != "string":
            value = read_value(orjson.loads(content), spec, spec.item_shape)[np.newaxis]
        return value


def _form_fields(body: bytes, boundary: bytes) -> list[tuple[str, bool, bytes]]:
    """Return the name of each field, whether it is a file, and its content."""
    start, end = b"--%b\r\n" % boundary, b"\r\n--%b--\r\n" % boundary
    if not body.startswith(start) or not body.endswith(end):
        raise Refused("the form does not begin and end with its boundary")
    fields = []
    for part in body[len(start) : -len(end)].split(b"\r\n" + start):
        head, _, content = part.partition(b"\r\n\r\n")
        match = re.match(
            rb'Content-Disposition: form-data; name="([^"\r\n]+)"(; filename="[^"\r\n]*")?(\r\n|$)', head
        )
        if match is None:
            raise Refused(f"no field of a form: {head[:200]!r}")
        fields.append((match[1].decode(), match[2] is not None, content))
    return fields


def _check_type(call: Call, wanted: str) -> None:
    if call.content_type != wanted:
        raise Refused(f"the content type is {call.content_type!r}, not {wanted}")


def _check_names(sent: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(sent.keys() - known)
    if unknown:
        raise Refused(f'Invalid JSON payload received. Unknown name "{unknown[0]}": Cannot find field.')


def _from_rows(instances: Any, signature: Signature) -> Tensors:
    if not isinstance(instances, list) or not instances:
        raise Refused("Expecting 'instances' to be a list that is not empty")
    specs = {spec.name: spec for spec in signature.inputs}
    is_bare = not _is_object(instances[0])
    if is_bare and len(specs) > 1:
        raise Refused("instances is a plain list, but expecting list of objects as multiple input tensors")
    rows = []
    for number, instance in enumerate(instances):
        if _is_object(instance) is is_bare:
            raise Refused(f"Expecting {'value/list' if is_bare else 'object'} at item {number} of input list")
        named = {next(iter(specs)): instance} if is_bare else instance
        if named.keys() != specs.keys():
            raise Refused(f"Failed to process element: {number}: keys must be equal to: {','.join(specs)}")
        rows.append(
            {name: read_value(value, specs[name], specs[name].item_shape) for name, value in named.items()}
        )
    for name in specs:
        if len({row[name].shape for row in rows}) > 1:
            raise Refused(f"Expecting shape {rows[0][name].shape} of {name} in all instances")
    return {name: np.stack([row[name] for row in rows]) for name in specs}


def _from_columns(inputs: Any, signature: Signature) -> Tensors:
    specs = {spec.name: spec for spec in signature.inputs}
    named = inputs if _is_object(inputs) else {next(iter(specs)): inputs}
    if named.keys() != specs.keys():
        raise Refused(f"Missing named input in 'inputs' object: {sorted(named)} are not {sorted(specs)}")
    tensors = {name: read_value(value, specs[name], specs[name].shape) for name, value in named.items()}
    sizes = {len(tensors[name]) for name, spec in specs.items() if spec.shape}
    if len(sizes) > 1:
        raise Refused(f"the inputs have batches of {sorted(sizes)}")
    return tensors


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() != {"b64"}


def _computed(served: Served, tensors: Tensors) -> Tensors:
    try:
        return served.compute(tensors)
    except ValueError as error:
        raise Refused(str(error), is_violation=False) from error
    except Exception as error:  # TensorFlow's have a code, which is gRPC's
        status = _STATUSES.get(getattr(error, "error_code", 2), 500)
        raise Refused(getattr(error, "message", str(error)), status, is_violation=False) from error


def _items(tensors: Tensors, signature: Signature) -> list[Mapping[str, Any]]:
    batched = [spec.name for spec in signature.inputs if spec.shape != ()]
    count = len(tensors[batched[0]])
    return [{name: tensors[name][index] for name in batched} for index in range(count)]


def _signature_def(signature: Signature) -> dict[str, Any]:
    return {
        "inputs": {spec.name: _tensor_info(spec) for spec in signature.inputs},
        "outputs": {spec.name: _tensor_info(spec) for spec in signature.outputs},
        "method_name": "tensorflow/serving/predict",
    }


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    names = {"float32": "DT_FLOAT", "float64": "DT_DOUBLE", "float16": "DT_HALF"}
    sizes = spec.shape or ()
    return {
        "dtype": names.get(spec.dtype, f"DT_{spec.dtype.upper()}"),
        "tensor_shape": {
            "dim": [{"size": str(-1 if size is None else size), "name": ""} for size in sizes],
            "unknown_rank": spec.shape is None,
        },
        "name": f"{spec.name}:0",
    }
