"""The call of ModelService.Embed."""

from collections.abc import Sequence
from typing import Literal

from qkv._calls import Call, Method
from qkv._fields import set_fields, several
from qkv._model_results import Array, EmbeddingResult
from qkv._names import named_choice
from qkv.v1.models_pb2 import EmbedRequest, EmbedResponse, Pooling
from qkv.wire import Draft, Received

EMBED = Method("/qkv.v1.ModelService/Embed", EmbedResponse)

PoolingName = Literal["mean", "cls", "last"]


def embed(
    texts: Sequence[str],
    *,
    model: str = "",
    pooling: PoolingName | None = None,
    normalize: bool | None = None,
    refuse_long_texts: bool = False,
    timeout: float | None = None,
    wait_for_ready: bool | None = None,
) -> Call[Array]:
    """One vector for each text: float32 (N, D), read-only.

        query, *documents = client.embed(["Which bird cannot fly?", "The kiwi.", "The owl."], model="minilm")
        scores = [query @ document for document in documents]  # cosines, where the model normalizes

    `pooling` says how a text's vector is made of its tokens', `normalize` whether it is scaled to length 1; left out,
    both are what the model was made for. A text that is longer than the model reads is cut, of which `embed_result`
    tells, or, with `refuse_long_texts`, raises TooLargeError. Otherwise raises as `tokenize` does.
    """
    request = _request(texts, model, pooling, normalize, refuse_long_texts)
    return Call(EMBED, request, _embeddings, timeout, wait_for_ready)


def embed_result(
    texts: Sequence[str],
    *,
    model: str = "",
    pooling: PoolingName | None = None,
    normalize: bool | None = None,
    refuse_long_texts: bool = False,
    timeout: float | None = None,
    wait_for_ready: bool | None = None,
) -> Call[EmbeddingResult]:
    """As `embed`: the vectors, and with them what was read of each text, and by which model."""
    request = _request(texts, model, pooling, normalize, refuse_long_texts)
    return Call(EMBED, request, EmbeddingResult.from_response, timeout, wait_for_ready)


def _request(
    texts: Sequence[str], model: str, pooling: PoolingName | None, normalize: bool | None, refuse_long_texts: bool
) -> Draft[EmbedRequest]:
    request = EmbedRequest(refuse_long_texts=refuse_long_texts)
    set_fields(request, {"model": model, "texts": several(texts, "texts"), "normalize": normalize})
    if pooling is not None:
        request.pooling = named_choice(Pooling, "POOLING_", pooling, "pooling")
    return Draft(request)


def _embeddings(response: Received[EmbedResponse]) -> Array:
    return EmbeddingResult.from_response(response).embeddings
