"""The service of ModelService.Tokenize and Detokenize."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qkv.v1 import models_pb2
from qkv.v1.models_pb2 import DetokenizeRequest, DetokenizeResponse, TokenizeRequest, TokenizeResponse
from qkv.wire import Draft
from qkv_server.service.limits import Limits
from qkv_server.service.models.choosing import Models
from qkv_server.service.violations import Violations
from qkv_server.service.workers import Turn
from qkv_server.transformers.errors import TextError

if TYPE_CHECKING:
    from qkv_server.transformers.text.tokenizer import Encoding

TOKEN_BYTES = 512  # that a token takes as objects; a character is seldom more than one
TEXT_BYTES = 512  # that a text takes however short


def tokenize(models: Models, limits: Limits, request: TokenizeRequest, _turn: Turn) -> Draft[TokenizeResponse]:
    """The tokens of texts. Raises ServiceError."""
    admit_texts(request.texts, limits)
    with models.lease(request.model) as model:
        encodings = model.files.tokenizer.encode_batch(request.texts, not request.without_special_tokens)
    return Draft(TokenizeResponse(texts=(models_pb2.Tokens(tokens=written(each)) for each in encodings)))


def detokenize(models: Models, limits: Limits, request: DetokenizeRequest, _turn: Turn) -> Draft[DetokenizeResponse]:
    """The texts of tokens. Raises ServiceError."""
    limits.admit(answer=0, working=sum(TEXT_BYTES + TOKEN_BYTES * len(each.ids) for each in request.texts))
    response, violations = DetokenizeResponse(), Violations()
    with models.lease(request.model) as model:
        for place, each in enumerate(request.texts):
            try:
                response.texts.append(model.files.tokenizer.decode(each.ids, request.with_special_tokens))
            except TextError as error:
                violations.note(f"texts[{place}].ids", str(error))
    violations.refuse()
    return Draft(response)


def admit_texts(texts: Sequence[str], limits: Limits) -> None:
    """Raise TooLargeError for more text than the server tokenizes at a time."""
    limits.admit(answer=0, working=sum(TEXT_BYTES + TOKEN_BYTES * len(text) for text in texts))


def written(encoding: "Encoding") -> list[models_pb2.Token]:
    """The tokens of a text as messages."""
    return [
        models_pb2.Token(id=number, piece=piece, begin=begin, end=end, special=special)
        for number, piece, (begin, end), special in zip(
            encoding.ids, encoding.pieces, encoding.offsets, encoding.special, strict=True
        )
    ]
