"""The standard health service, grpc.health.v1, asked without a package for it."""

from enum import Enum

from qkv._calls import Call, Method
from qkv.third_party.grpc_health_pb2 import HealthCheckRequest, HealthCheckResponse
from qkv.wire import Draft

CHECK = Method("/grpc.health.v1.Health/Check", HealthCheckResponse)


class Health(Enum):
    """What a service says of itself."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


def health(service: str = "", *, timeout: float | None = None, wait_for_ready: bool | None = None) -> Call[Health]:
    """The health of the server as a whole, or of one service, as "qkv.v1.AttentionService".

    A model is a service, too: "qkv.v1.ModelService/minilm".
    Raises CallError with code NOT_FOUND for a service that the server does not have.
    """
    request = Draft(HealthCheckRequest(service=service))
    return Call(CHECK, request, lambda response: Health(response.message.status), timeout, wait_for_ready)
