"""The model and the application, as KServe has them; imported only where it is installed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from pipeline.serving.answering import Answering
from pipeline.serving.answers import CONTENT_TYPE, error_body
from pipeline.serving.failure import INTERNAL_ERROR, RequestFailed
from pipeline.serving.gate import Application
from pipeline.serving.instances import feed_of
from pipeline.serving.kserve_package import import_kserve
from pipeline.serving.metadata import Tensor, input_types, output_types
from transforms.errors import EngineRefused
from transforms.predictors.remote.kserve import SIGNATURE_PARAMETER

_server: Any = import_kserve("kserve.model_server")
_dataplane: Any = import_kserve("kserve.protocol.dataplane")
_model: Any = import_kserve("kserve.model")
_rest: Any = import_kserve("kserve.protocol.rest.server")

_LOGGER = logging.getLogger(__name__)


class ServedModel(_model.Model):  # type: ignore[misc]
    """A model of this project's, for KServe's server.

    Args:
        name: In the URLs.
        answering: Makes the answers.
        threads: In which they are made, so that others are heard meanwhile.
        give_up: Called with the reason when no request can be answered.
    """

    def __init__(
        self, name: str, answering: Answering, threads: Executor, give_up: Callable[[str], None]
    ) -> None:
        super().__init__(name, return_response_headers=True)
        self.ready = True  # it was loaded, and is warm
        self.answering = answering
        self._threads = threads
        self._give_up = give_up

    def load(self) -> bool:
        """See `kserve.Model.load`."""
        return bool(self.ready)

    def validate(self, payload: Any) -> Any:
        """See `kserve.Model.validate`; `Answering` does it."""
        return payload

    def get_input_types(self) -> list[Tensor]:
        """See `kserve.Model.get_input_types`."""
        return input_types(feed_of(self.answering.model.current()))

    def get_output_types(self) -> list[Tensor]:
        """See `kserve.Model.get_output_types`."""
        return output_types(self.answering.model.current().signature)

    async def predict(
        self, payload: Any, headers: Mapping[str, str], response_headers: dict[str, str]
    ) -> bytes:
        """Return the body of the answer.

        Raises:
            RequestFailed: There is none.
        """
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(self._threads, self._answered, payload)
        response_headers["content-type"] = CONTENT_TYPE
        return body

    def _answered(self, payload: Any) -> bytes:
        try:
            return self.answering.answer(payload)
        except RequestFailed:
            raise
        except EngineRefused as error:
            self._give_up(str(error))
            raise RequestFailed(INTERNAL_ERROR, f"{type(error).__name__}: {error}") from error
        except Exception as error:  # whatever it is, its stack is nobody else's business
            _LOGGER.exception("a request failed")
            raise RequestFailed(INTERNAL_ERROR, f"{type(error).__name__}: {error}") from error


class _DataPlane(_dataplane.DataPlane):  # type: ignore[misc]
    """KServe's, with the version of a model, and without what the gate does not let pass."""

    def metadata(self) -> dict[str, Any]:
        return {**super().metadata(), "extensions": []}

    async def model_metadata(self, model_name: str) -> dict[str, Any]:
        told: dict[str, Any] = await super().model_metadata(model_name)
        model: ServedModel = self.get_model_from_registry(model_name)
        current = model.answering.model.current()
        return {
            **told,
            "platform": "beam-predict",
            "versions": [current.model_version],
            "parameters": {SIGNATURE_PARAMETER: current.signature.name},
        }


def make_application(model: ServedModel) -> Application:
    """Make KServe's application with one model; once in a process, which has only one."""
    server = _server.ModelServer(workers=1, enable_grpc=False, enable_latency_logging=False)
    server.register_model(model)
    dataplane = _DataPlane(server.registered_models)
    rest = _rest.RESTServer(
        _server.FASTAPI_APP_IMPORT_STRING,
        dataplane,
        server.model_repository_extension,
        http_port=0,
    )
    rest.create_application()
    application: Any = _server.app
    application.add_exception_handler(RequestFailed, _failed)
    application.router.routes.insert(0, _metadata_route(dataplane))
    made: Application = application
    return made


def _metadata_route(dataplane: _DataPlane) -> Any:
    """Make the route of a model's metadata; KServe's own leaves out what the V2 protocol does not list."""
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def metadata(request: Any) -> Any:
        return JSONResponse(await dataplane.model_metadata(request.path_params["model_name"]))

    return Route("/v2/models/{model_name}", metadata)


async def _failed(_: Any, error: Any) -> Any:
    from starlette.responses import Response

    return Response(error_body(error.message), error.status, media_type=CONTENT_TYPE)
