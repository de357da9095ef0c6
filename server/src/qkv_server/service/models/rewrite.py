"""The service of ModelService.Summarize and Translate."""

from functools import partial

from qkv import Violation
from qkv.v1.models_pb2 import SummarizeRequest, SummarizeResponse, TranslateRequest, TranslateResponse
from qkv_server.service.errors import InvalidRequestError, NoSuchTaskError
from qkv_server.service.limits import Limits
from qkv_server.service.models.answering import Answering, refusals
from qkv_server.service.models.choosing import Models
from qkv_server.service.models.description import Description, Task
from qkv_server.service.models.sampling import read_sampling
from qkv_server.service.models.tokens import admit_texts
from qkv_server.service.pieces import Pieces
from qkv_server.service.violations import Violations
from qkv_server.transformers.text.languages import Pair, matching


def summarize(models: Models, limits: Limits, request: SummarizeRequest, arrived: float, pieces: Pieces) -> None:
    """Begin to answer a request that arrived at a time of `time.monotonic`. Raises ServiceError for a refusal."""
    violations = Violations()
    sampling, seed = read_sampling(request.sampling, violations)
    violations.within("max_tokens", request.max_tokens, 0)
    violations.refuse()
    admit_texts([request.text], limits)
    model = pieces.keep(models.lease(request.model, Task.SUMMARIZE))
    with refusals("text"):
        rewrite = partial(model.summary(), request.text, max_tokens=request.max_tokens, sampling=sampling, seed=seed)
    Answering(SummarizeResponse, "text", model, arrived, pieces).begin(lambda tell: rewrite(on_event=tell))


def translate(models: Models, limits: Limits, request: TranslateRequest, arrived: float, pieces: Pieces) -> None:
    """Begin to answer a request that arrived at a time of `time.monotonic`. Raises ServiceError for a refusal."""
    violations = Violations()
    sampling, seed = read_sampling(request.sampling, violations)
    violations.refuse()
    admit_texts([request.text], limits)
    name = request.model or _translator(models, request.source, request.target)
    model = pieces.keep(models.lease(name, Task.TRANSLATE))
    pair = _pair(name, model.description, request.source, request.target)
    with refusals("text"):
        rewrite = partial(model.translation(pair), request.text, sampling=sampling, seed=seed)
    Answering(TranslateResponse, "text", model, arrived, pieces).begin(lambda tell: rewrite(on_event=tell))


def _translator(models: Models, source: str, target: str) -> str:
    """The model that was made for two languages; if there is none, the one that is asked for any in words."""
    able = list(models.able(Task.TRANSLATE))
    made = [name for name, description in able if matching(description.languages, source, target)]
    return models.only(made or [name for name, description in able if not description.languages], Task.TRANSLATE)


def _pair(name: str, description: Description, source: str, target: str) -> Pair:
    """The languages that a model is asked for. Raises ServiceError for those that it was not made for."""
    if not description.languages:
        if Task.CHAT in description.tasks and not target:
            raise InvalidRequestError([Violation("target", f"needed, since {name} is asked for any language")])
        return source, target
    pairs = matching(description.languages, source, target)
    if not pairs:
        raise NoSuchTaskError(name, _said((source, target)), map(_said, description.languages))
    if len(pairs) > 1:
        field = "target" if source else "source"
        raise InvalidRequestError([Violation(field, f"needed, since {name} can {', '.join(map(_said, pairs))}")])
    return pairs[0]


def _said(pair: Pair) -> str:
    source, target = pair
    return f"translate {source or 'any language'} to {target or 'any language'}"
