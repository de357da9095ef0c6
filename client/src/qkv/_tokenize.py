"""The calls of ModelService.Tokenize and Detokenize."""

from collections.abc import Sequence

from qkv._calls import Call, Method
from qkv._fields import set_fields, several
from qkv._model_results import Token, tokens_of
from qkv.v1.models_pb2 import DetokenizeRequest, DetokenizeResponse, TokenizeRequest, TokenizeResponse
from qkv.wire import Draft

TOKENIZE = Method("/qkv.v1.ModelService/Tokenize", TokenizeResponse)
DETOKENIZE = Method("/qkv.v1.ModelService/Detokenize", DetokenizeResponse)


def tokenize(
    texts: Sequence[str],
    *,
    model: str = "",
    special_tokens: bool = True,
    timeout: float | None = None,
    wait_for_ready: bool | None = None,
) -> Call[list[tuple[Token, ...]]]:
    """The tokens of each text, as the model reads them: with the special ones that it expects around a text, or not.

    The model may be left out where the server has one alone that can do what is asked, here as in the other calls.
    Raises InvalidRequestError with every wrong field, NotFoundError for a model that is not there,
    FailedPreconditionError for one that could not be loaded or cannot do what is asked, UnavailableError while it is
    being loaded, TooLargeError for more text than the server admits, and the other errors under CallError.
    """
    request = TokenizeRequest(without_special_tokens=not special_tokens)
    set_fields(request, {"model": model, "texts": several(texts, "texts")})
    return Call(
        TOKENIZE,
        Draft(request),
        lambda response: [tokens_of(each.tokens) for each in response.message.texts],
        timeout,
        wait_for_ready,
    )


def detokenize(
    ids: Sequence[Sequence[int]],
    *,
    model: str = "",
    special_tokens: bool = False,
    timeout: float | None = None,
    wait_for_ready: bool | None = None,
) -> Call[list[str]]:
    """The text of each list of tokens, special ones written or left out. Raises as `tokenize` does."""
    request = DetokenizeRequest(with_special_tokens=special_tokens)
    set_fields(request, {"model": model})
    for place, of_text in enumerate(ids):
        set_fields(request.texts.add(), {"ids": of_text}, f"texts[{place}].")
    return Call(DETOKENIZE, Draft(request), lambda response: list(response.message.texts), timeout, wait_for_ready)
