"""The service of ModelService.ListModels and GetModel."""

from qkv import codec
from qkv.v1 import models_pb2
from qkv.v1.models_pb2 import GetModelRequest, GetModelResponse, ListModelsRequest, ListModelsResponse
from qkv.wire import Draft
from qkv_server.service.limits import Limits
from qkv_server.service.models.choosing import Models
from qkv_server.service.models.described import Description, Task
from qkv_server.service.models.violations import Violations
from qkv_server.service.workers import Turn
from qkv_server.transformers.repository.repository import Entry

PLAIN = ("architecture", "parameters", "weight_bytes", "hidden_size", "layers", "decoder_layers", "heads")
SIZES = ("context_tokens", "vocabulary_size")


def list_models(models: Models, _limits: Limits, _request: ListModelsRequest, _turn: Turn) -> Draft[ListModelsResponse]:
    """All models by name."""
    return Draft(ListModelsResponse(models=map(_model, models.entries())))


def get_model(models: Models, _limits: Limits, request: GetModelRequest, _turn: Turn) -> Draft[GetModelResponse]:
    """One model. Raises ServiceError."""
    violations = Violations()
    if not request.model:
        violations.note("model", "needed, the name of a model")
    violations.refuse()
    return Draft(GetModelResponse(model=_model(models.entry(request.model))))


def _model(entry: Entry) -> models_pb2.Model:
    model = models_pb2.Model(
        name=entry.name, state=getattr(models_pb2, f"MODEL_STATE_{entry.state.name}"), reason=entry.reason
    )
    if isinstance(entry.description, Description):
        _describe(model, entry.description)
    return model


def _describe(model: models_pb2.Model, description: Description) -> None:
    for name in (*PLAIN, *SIZES):
        setattr(model, name, getattr(description, name))
    model.weight_type = codec.data_type(description.weight_type)
    model.tasks.extend(getattr(models_pb2, f"TASK_{task.name}") for task in Task if task in description.tasks)
    for source, target in description.languages:
        model.languages.add(source=source, target=target)
    model.labels.extend(description.labels)
