"""The calls of ModelService that describe models."""

from qkv._calls import Call, Method
from qkv._model_results import Model
from qkv.v1.models_pb2 import GetModelRequest, GetModelResponse, ListModelsRequest, ListModelsResponse
from qkv.wire import Draft

LIST_MODELS = Method("/qkv.v1.ModelService/ListModels", ListModelsResponse)
GET_MODEL = Method("/qkv.v1.ModelService/GetModel", GetModelResponse)


def models(*, timeout: float | None = None, wait_for_ready: bool | None = None) -> Call[list[Model]]:
    """The models of the server, ready or not, by name."""
    return Call(
        LIST_MODELS,
        Draft(ListModelsRequest()),
        lambda response: [Model.from_message(each) for each in response.message.models],
        timeout,
        wait_for_ready,
    )


def model(name: str, *, timeout: float | None = None, wait_for_ready: bool | None = None) -> Call[Model]:
    """One model, described. Raises NotFoundError if there is none of that name."""
    return Call(
        GET_MODEL,
        Draft(GetModelRequest(model=name)),
        lambda response: Model.from_message(response.message.model),
        timeout,
        wait_for_ready,
    )
