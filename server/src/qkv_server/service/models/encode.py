"""The service of ModelService.Encode."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from qkv import Violation, codec
from qkv.v1 import models_pb2
from qkv.v1.models_pb2 import EncodeRequest, EncodeResponse
from qkv.wire import Draft
from qkv_server.service.errors import InvalidRequestError, NoSuchTaskError
from qkv_server.service.limits import Limits
from qkv_server.service.models.choosing import Models
from qkv_server.service.models.description import Description, Task, words
from qkv_server.service.models.embed import NUMBER_BYTES, too_long
from qkv_server.service.models.tokens import admit_texts, written
from qkv_server.service.violations import NO_TOKENS, Violations
from qkv_server.service.workers import Turn

if TYPE_CHECKING:
    from qkv_server.service.models.served import ServedModel

LAST = -1


def encode(models: Models, limits: Limits, request: EncodeRequest, _turn: Turn) -> Draft[EncodeResponse]:
    """What a model computes of a text. Raises ServiceError."""
    admit_texts([request.text], limits)
    with models.lease(request.model, Task.ENCODE) as model:
        _check(request, model.description)
        states_of, maps_of = _layers_asked(request, model.description)
        if request.labels and not model.description.labels:
            raise NoSuchTaskError(model.name, "label tokens", words(model.description.tasks))
        (whole,) = model.files.tokenizer.encode_batch([request.text])
        read = model.cut(whole)
        tokens = len(read.ids)
        if request.refuse_long_text and tokens < len(whole.ids):
            raise too_long("text", len(whole.ids), tokens)
        if not tokens:
            raise InvalidRequestError([Violation("text", NO_TOKENS)])
        maps = len(maps_of) * (len(request.heads) or model.description.heads)
        _admit(len(states_of), maps, model.description, tokens, limits)
        states = model.encoder.encode(read.ids, states_of, maps_of, request.heads, request.labels)
    response = EncodeResponse(
        tokens=written(read),
        hidden_states=_layers(states.hidden_states),
        attentions=_layers(states.attentions),
        truncated=tokens < len(whole.ids),
        model=model.name,
    )
    if states.label_probabilities is not None:
        response.labels.extend(_labels(model, states.label_probabilities))
    return Draft(response)


def _check(request: EncodeRequest, description: Description) -> None:
    """Refuse layers and heads that the model does not have."""
    violations = Violations()
    for field, numbers, least, most in (
        ("hidden_states", request.hidden_states, LAST, description.layers),
        ("attentions", request.attentions, LAST, description.layers - 1),
        ("heads", request.heads, 0, description.heads - 1),
    ):
        for place, number in enumerate(numbers):
            violations.within(f"{field}[{place}]", number, least, most)
    for every, field in ((request.all_hidden_states, "hidden_states"), (request.all_attentions, "attentions")):
        if every and getattr(request, field):
            violations.note(field, f"excluded by all_{field}, expected one of the two")
    if request.heads and not (request.attentions or request.all_attentions):
        violations.note("heads", "are those of attention maps, expected attentions or all_attentions, too")
    violations.refuse()


def _layers_asked(request: EncodeRequest, description: Description) -> tuple[Sequence[int], Sequence[int]]:
    """The layers whose hidden states are asked, and those whose attention maps are."""
    states = range(description.layers + 1) if request.all_hidden_states else request.hidden_states
    return states, range(description.layers) if request.all_attentions else request.attentions


def _admit(states: int, maps: int, description: Description, tokens: int, limits: Limits) -> None:
    """Refuse an answer of more bytes than are admitted; the model holds it twice, and all heads of a layer."""
    answer = NUMBER_BYTES * (states * tokens * description.hidden_size + maps * tokens**2)
    limits.admit(answer=answer, working=2 * answer + NUMBER_BYTES * description.heads * tokens**2)


def _layers(layers: Iterable[tuple[int, npt.NDArray[np.float32]]]) -> list[models_pb2.Layer]:
    return [models_pb2.Layer(layer=number, values=codec.to_tensor(values)) for number, values in layers]


def _labels(model: "ServedModel", probabilities: npt.NDArray[np.float32]) -> list[models_pb2.TokenLabel]:
    """The likeliest label of each token, of probabilities (L, K)."""
    names = model.description.labels
    likeliest = probabilities.argmax(axis=1)
    return [
        models_pb2.TokenLabel(label=names[number], probability=row[number])
        for number, row in zip(likeliest.tolist(), probabilities, strict=True)
    ]
