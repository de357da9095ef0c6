"""The service of ModelService.ListModels and GetModel."""

from qkv import Violation, codec
from qkv.v1 import models_pb2
from qkv.v1.models_pb2 import GetModelRequest, GetModelResponse, ListModelsRequest, ListModelsResponse
from qkv.wire import Draft
from qkv_server.service.errors import InvalidRequestError
from qkv_server.service.limits import Limits
from qkv_server.service.models.choosing import Models
from qkv_server.service.models.description import Description, Task
from qkv_server.service.workers import Turn
from qkv_server.transformers.repository.entry import Entry

# The fields that are called alike and hold the same in Description and Model.
PLAIN = (
    "architecture",
    "parameters",
    "weight_bytes",
    "hidden_size",
    "layers",
    "decoder_layers",
    "heads",
    "context_tokens",
    "vocabulary_size",
)


def list_models(models: Models, _limits: Limits, _request: ListModelsRequest, _turn: Turn) -> Draft[ListModelsResponse]:
    """All models by name."""
    return Draft(ListModelsResponse(models=map(_model, models.entries())))


def get_model(models: Models, _limits: Limits, request: GetModelRequest, _turn: Turn) -> Draft[GetModelResponse]:
    """One model. Raises ServiceError."""
    if not request.model:
        raise InvalidRequestError([Violation("model", "needed, the name of a model")])
    return Draft(GetModelResponse(model=_model(models.entry(request.model))))


def _model(entry: Entry[Description]) -> models_pb2.Model:
    model = models_pb2.Model(
        name=entry.name, state=getattr(models_pb2, f"MODEL_STATE_{entry.state.name}"), reason=entry.reason
    )
    if entry.description is not None:
        _describe(model, entry.description)
    return model


def _describe(model: models_pb2.Model, description: Description) -> None:
    for name in PLAIN:
        setattr(model, name, getattr(description, name))
    model.weight_type = codec.data_type(description.weight_type)
    model.tasks.extend(getattr(models_pb2, f"TASK_{task.name}") for task in Task if task in description.tasks)
    for source, target in description.languages:
        model.languages.add(source=source, target=target)
    model.labels.extend(description.labels)
