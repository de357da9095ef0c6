"""The service of ModelService.Embed."""

from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial

from qkv.v1 import models_pb2
from qkv.v1.models_pb2 import EmbedRequest, EmbedResponse
from qkv.wire import Draft
from qkv_server.service.errors import TooManyTokensError
from qkv_server.service.following import followed
from qkv_server.service.limits import Limits
from qkv_server.service.models.choosing import Models
from qkv_server.service.models.description import Task
from qkv_server.service.models.tokens import admit_texts
from qkv_server.service.violations import Violations
from qkv_server.service.workers import Turn
from qkv_server.transformers.stacks.embedding import Array, Pooling

NUMBER_BYTES = 4  # of a vector
TOLD_BYTES = 8  # of each text, beside its vector, at most


def embed(models: Models, limits: Limits, request: EmbedRequest, turn: Turn) -> Future[Draft[EmbedResponse]]:
    """A vector for each text, computed together with those of other calls. Raises ServiceError."""
    pooling = _pooling(request)
    normalized = request.normalize if request.HasField("normalize") else None
    admit_texts(request.texts, limits)
    with ExitStack() as held:
        model = held.enter_context(models.lease(request.model, Task.EMBED))
        each = NUMBER_BYTES * model.description.hidden_size + TOLD_BYTES
        limits.admit(answer=each * len(request.texts), working=0)
        encodings = model.files.tokenizer.encode_batch(request.texts)
        read = [model.cut(encoding) for encoding in encodings]
        truncated = [len(cut.ids) < len(whole.ids) for cut, whole in zip(read, encodings, strict=True)]
        if request.refuse_long_texts and any(truncated):
            place = truncated.index(True)
            raise too_long(f"texts[{place}]", len(encodings[place].ids), len(read[place].ids))
        vectors = model.embeddings.submit(
            [each.ids for each in read],
            pooling,
            normalized,
            later=turn.later,
            threads=turn.threads,
            cancellation=turn.cancellation,
        )
        using = held.pop_all()
        vectors.add_done_callback(lambda _: using.close())
    response = EmbedResponse(tokens=[len(cut.ids) for cut in read], truncated=truncated, model=model.name)
    return followed(vectors, partial(_answer, response))


def _answer(response: EmbedResponse, vectors: Array) -> Draft[EmbedResponse]:
    answer = Draft(response)
    answer.put_tensor("embeddings", vectors)
    return answer


def too_long(field: str, tokens: int, most: int) -> TooManyTokensError:
    """The refusal of a text that would have to be cut."""
    return TooManyTokensError(
        f"{field} has {tokens} tokens, the model reads {most}", {"neededTokens": str(tokens), "limitTokens": str(most)}
    )


def _pooling(request: EmbedRequest) -> Pooling | None:
    """How a text's vector is made; None: as the model was trained."""
    enum = models_pb2.Pooling
    if request.pooling not in enum.values():
        violations = Violations()
        violations.note("pooling", f"is {request.pooling}, expected one of {', '.join(enum.keys()[1:])}")
        violations.refuse()
    if request.pooling == models_pb2.POOLING_UNSPECIFIED:
        return None
    return Pooling[enum.Name(request.pooling).removeprefix("POOLING_")]
