"""inference.GRPCInferenceService over gRPC, for the clients that Triton and KServe have already."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message
from grpc_health.v1.health_pb2 import HealthCheckResponse

from qkv.fields import length_delimited
from qkv.third_party.open_inference_pb2 import (
    ModelConfigRequest,
    ModelConfigResponse,
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ModelReadyResponse,
    ModelStatisticsRequest,
    ModelStatisticsResponse,
    ModelStreamInferResponse,
    RepositoryIndexRequest,
    RepositoryIndexResponse,
    ServerLiveRequest,
    ServerLiveResponse,
    ServerMetadataRequest,
    ServerMetadataResponse,
    ServerReadyRequest,
    ServerReadyResponse,
)
from qkv.wire import Draft, Received
from qkv_server.service.calls import Calls, Method
from qkv_server.service.errors import STOPPING, ServiceError, StoppingError, UnknownModelError
from qkv_server.service.limits import Limits
from qkv_server.service.workers import Prepared
from qkv_server.transport.forms import BINARY
from qkv_server.transport.oip import contents
from qkv_server.transport.oip.described import METHODS, SERVICE
from qkv_server.transport.oip.models import Model, Models
from qkv_server.transport.oip.statistics import Statistics
from qkv_server.transport.status import refuse, status_of

RESPONSE_IN_STREAM = ModelStreamInferResponse.INFER_RESPONSE_FIELD_NUMBER
EXTENSIONS = ("model_configuration", "parameters", "statistics")
READY, UNAVAILABLE = "READY", "UNAVAILABLE"
DISTRIBUTION = "qkv-server"
FINAL = "triton_final_response"

Context = grpc.aio.ServicerContext[bytes, bytes]
Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"
Write = Callable[[Draft[Any]], bytes]


@dataclass(slots=True)
class _Asked:
    """What is known of a call, once it has been read."""

    model: Model | None = None
    id: str = ""


class Inference:
    """The service. `health` says how a service is, by its name; raises ServiceError for one that it does not know."""

    def __init__(self, calls: Calls, health: Callable[[str], int], models: Models) -> None:
        self._calls = calls
        self._health = health
        self._models = models
        self._statistics: defaultdict[str, Statistics] = defaultdict(Statistics)
        self._closed = asyncio.Event()

    def handler(self) -> grpc.GenericRpcHandler:
        """The handler of the service, to be added to a server."""
        return _Handler(
            {
                "ServerLive": _answered(ServerLiveRequest, lambda _: ServerLiveResponse(live=True)),
                "ServerReady": _answered(ServerReadyRequest, lambda _: ServerReadyResponse(ready=self._ready)),
                "ModelReady": _answered(ModelReadyRequest, self._model_ready),
                "ServerMetadata": _answered(ServerMetadataRequest, _server_metadata),
                "ModelMetadata": _answered(ModelMetadataRequest, self._model_metadata),
                "ModelInfer": grpc.unary_unary_rpc_method_handler(self._model_infer),
                "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(self._model_stream_infer),
                "ModelConfig": _answered(ModelConfigRequest, self._model_config),
                "ModelStatistics": _answered(ModelStatisticsRequest, self._model_statistics),
                "RepositoryIndex": _answered(RepositoryIndexRequest, self._repository_index),
            }
        )

    def close(self) -> None:
        """Let the streams go, each once it has answered what it was asked."""
        self._closed.set()

    @property
    def _ready(self) -> bool:
        return self._health(SERVICE) == HealthCheckResponse.SERVING

    def _model_ready(self, request: ModelReadyRequest) -> ModelReadyResponse:
        try:
            self._models.find(request.name, request.version)
        except UnknownModelError:
            return ModelReadyResponse(ready=False)
        return ModelReadyResponse(ready=self._ready)

    def _model_metadata(self, request: ModelMetadataRequest) -> ModelMetadataResponse:
        return self._models.find(request.name, request.version).metadata().response()

    def _model_config(self, request: ModelConfigRequest) -> ModelConfigResponse:
        return ModelConfigResponse(config=self._models.find(request.name, request.version).metadata().config())

    def _model_statistics(self, request: ModelStatisticsRequest) -> ModelStatisticsResponse:
        models = [self._models.find(request.name, request.version)] if request.name else self._models
        known = [model.metadata() for model in models]
        return ModelStatisticsResponse(
            model_stats=[self._statistics[each.name].message(each.name, each.version) for each in known]
        )

    def _repository_index(self, request: RepositoryIndexRequest) -> RepositoryIndexResponse:
        response = RepositoryIndexResponse()
        for model in self._models if self._ready or not request.ready else ():
            metadata = model.metadata()
            state, reason = (READY, "") if self._ready else (UNAVAILABLE, STOPPING)
            response.models.add(name=metadata.name, version=metadata.version, state=state, reason=reason)
        return response

    async def _model_infer(self, payload: bytes, context: Context) -> bytes:
        try:
            return await self._infer(payload, _Asked(), _unary)
        except ServiceError as error:
            await refuse(error, context)

    async def _model_stream_infer(self, _: AsyncIterator[bytes], context: Context) -> None:
        closed = asyncio.create_task(self._closed.wait())
        try:
            while True:
                coming = asyncio.ensure_future(context.read())
                await asyncio.wait({coming, closed}, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    coming.cancel()
                    await refuse(StoppingError(), context)
                payload = coming.result()
                if not isinstance(payload, bytes):
                    return  # the client has asked all that it wanted
                await context.write(await self._streamed(payload))
        finally:
            closed.cancel()

    async def _streamed(self, payload: bytes) -> bytes:
        asked = _Asked()
        try:
            return await self._infer(payload, asked, _in_stream)
        except ServiceError as error:
            refused = ModelStreamInferResponse(error_message=status_of(error)[1].message)
            refused.infer_response.id = asked.id
            refused.infer_response.parameters[FINAL].bool_param = True
            return refused.SerializeToString()

    async def _infer(self, payload: bytes, asked: _Asked, write: Write) -> bytes:
        """The answer to a request, which is counted."""

        def prepare(request: Received[ModelInferRequest], limits: Limits, arrived: float) -> Prepared:
            message = request.message
            asked.id = message.id
            asked.model = self._models.find(message.model_name, message.model_version)
            return asked.model.infer(request, limits, arrived)

        def written(draft: Draft[ModelInferResponse]) -> tuple[bytes, ModelInferResponse]:
            return write(draft), draft.message

        arrived = time.monotonic()
        method = Method(ModelInferRequest, ModelInferResponse, prepare)
        try:
            answer, told = await self._calls.answer(method, len(payload), partial(contents.receive, payload), written)
        except ServiceError:
            if asked.model is not None:
                self._statistics[asked.model.metadata().name].failed(time.monotonic() - arrived)
            raise
        queued, computed = (told.parameters[name].double_param for name in ("queue_seconds", "compute_seconds"))
        self._statistics[told.model_name].succeeded(time.monotonic() - arrived, queued, computed)
        return answer


class _Handler(grpc.GenericRpcHandler):
    """The methods that are here; the protocol's others are refused with a message that names those."""

    def __init__(self, methods: dict[str, Handler]) -> None:
        self._methods = methods

    def service(self, details: grpc.HandlerCallDetails) -> "Handler | None":
        """The handler of a call; None for calls of other services."""
        service, _, name = details.method.removeprefix("/").partition("/")
        if service != SERVICE:
            return None
        return self._methods.get(name) or grpc.unary_unary_rpc_method_handler(partial(_unimplemented, name))


def _answered(kind: type[Message], answer: Callable[[Any], Message]) -> Handler:
    """A handler of calls that are tiny and compute nothing."""

    async def serve(payload: bytes, context: Context) -> bytes:
        try:
            return answer(BINARY.read(payload, kind).message).SerializeToString()
        except ServiceError as error:
            await refuse(error, context)

    return grpc.unary_unary_rpc_method_handler(serve)


async def _unimplemented(name: str, _: bytes, context: Context) -> bytes:
    await context.abort(
        grpc.StatusCode.UNIMPLEMENTED, f"{name} is not offered by this server, expected one of {', '.join(METHODS)}"
    )


def _server_metadata(_: ServerMetadataRequest) -> ServerMetadataResponse:
    return ServerMetadataResponse(name=DISTRIBUTION, version=version(DISTRIBUTION), extensions=EXTENSIONS)


def _unary(draft: Draft[ModelInferResponse]) -> bytes:
    return b"".join(contents.encode(draft))


def _in_stream(draft: Draft[ModelInferResponse]) -> bytes:
    """The bytes of a ModelStreamInferResponse, whose every response is the last of its request."""
    draft.message.parameters[FINAL].bool_param = True
    pieces = contents.encode(draft)
    return b"".join((length_delimited(RESPONSE_IN_STREAM, sum(map(len, pieces))), *pieces))
