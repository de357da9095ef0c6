"""What a model is to the protocol, and which there are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from qkv.third_party.open_inference_pb2 import (
    ModelConfig,
    ModelInferRequest,
    ModelMetadataResponse,
    ModelTransactionPolicy,
)
from qkv.wire import Received
from qkv_server.service.errors import UnknownModelError
from qkv_server.service.limits import Limits
from qkv_server.service.workers import Prepared

PLATFORM = "qkv"
ANY = -1  # the length of an axis


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """An input or output; an optional input may be left out."""

    name: str
    datatype: str
    shape: Sequence[int]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a model takes and gives. `parameters` says of each request parameter what it may be."""

    name: str
    version: str
    inputs: Sequence[TensorMetadata]
    outputs: Sequence[TensorMetadata]
    parameters: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> ModelMetadataResponse:
        """As the protocol says it."""
        response = ModelMetadataResponse(name=self.name, versions=[self.version], platform=PLATFORM)
        for tensors, said in ((self.inputs, response.inputs), (self.outputs, response.outputs)):
            for tensor in tensors:
                said.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        return response

    def config(self) -> ModelConfig:
        """As Triton says it."""
        config = ModelConfig(
            name=self.name,
            platform=PLATFORM,
            backend=PLATFORM,
            max_batch_size=0,
            model_transaction_policy=ModelTransactionPolicy(decoupled=False),
        )
        for tensor in self.inputs:
            config.input.add(
                name=tensor.name, data_type=f"TYPE_{tensor.datatype}", dims=tensor.shape, optional=tensor.optional
            )
        for tensor in self.outputs:
            config.output.add(name=tensor.name, data_type=f"TYPE_{tensor.datatype}", dims=tensor.shape)
        for name, said in self.parameters.items():
            config.parameters[name].string_value = said
        return config


class Model(Protocol):
    """A model that can be asked."""

    def metadata(self) -> Metadata:
        """What the model takes and gives."""

    def infer(self, request: Received[ModelInferRequest], limits: Limits, arrived: float) -> Prepared:
        """Prepare a request that arrived at a time of `time.monotonic`; the answer is a draft of a ModelInferResponse.

        The raw contents of both are apart (`contents`). Raises ServiceError for every refusal.
        """


class Models:
    """Models by name, one version of each."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._models = {model.metadata().name: model for model in models}

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def find(self, name: str, version: str) -> Model:
        """The model of a name and a version, any version if empty; raises UnknownModelError."""
        model = self._models.get(name)
        if model is None:
            raise UnknownModelError(name, self._models)
        known = model.metadata().version
        if version not in ("", known):
            raise UnknownModelError(f"{name}:{version}", [f"{name}:{known}"])
        return model
