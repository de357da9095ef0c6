"""The call of ModelService.Encode."""

from collections.abc import Sequence

from qkv._calls import Call, Method
from qkv._fields import set_fields
from qkv._model_results import EncodeResult
from qkv.v1.models_pb2 import EncodeRequest, EncodeResponse
from qkv.wire import Draft

ENCODE = Method("/qkv.v1.ModelService/Encode", EncodeResponse)


def encode(
    text: str,
    *,
    model: str = "",
    hidden_states: bool | Sequence[int] = False,
    attentions: bool | Sequence[int] = False,
    heads: Sequence[int] = (),
    labels: bool = False,
    refuse_long_text: bool = False,
    timeout: float | None = None,
    wait_for_ready: bool | None = None,
) -> Call[EncodeResult]:
    """What a model computes of a text: hidden states and attention maps of layers, and a label for each token.

        result = client.encode("I love bears", model="minilm", attentions=[0])
        result.attentions[0]  # (H, L, L)

    Layers are asked by number, or True for all. Hidden states 0 are the embedding, i what comes after layer i;
    attentions 0 are the first layer's; -1 is the last. `heads` are those whose attention maps are wanted, from 0;
    all unless said. `labels` asks a model that has them for a label of each token. A text that is longer than the model
    reads is cut, of which the result tells, or, with `refuse_long_text`, raises TooLargeError. Otherwise raises as
    `tokenize` does.
    """
    request = EncodeRequest(refuse_long_text=refuse_long_text, labels=labels)
    set_fields(request, {"model": model, "text": text, "heads": heads})
    for name, asked in (("hidden_states", hidden_states), ("attentions", attentions)):
        set_fields(request, {f"all_{name}": asked} if isinstance(asked, bool) else {name: asked})
    return Call(ENCODE, Draft(request), EncodeResult.from_response, timeout, wait_for_ready)
