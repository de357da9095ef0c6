"""The service of ModelService.Generate."""

from typing import TYPE_CHECKING

from qkv.v1.models_pb2 import GenerateRequest, GenerateResponse
from qkv_server.service.limits import Limits
from qkv_server.service.models.answering import Answering, refusals
from qkv_server.service.models.choosing import Models
from qkv_server.service.models.description import Task
from qkv_server.service.models.sampling import read_sampling
from qkv_server.service.models.tokens import admit_texts
from qkv_server.service.pieces import Pieces
from qkv_server.service.violations import Violations
from qkv_server.transformers.generation.request import GenerationRequest

if TYPE_CHECKING:
    from qkv_server.service.models.served import ServedModel

MOST_STOPS, MOST_STOP_CHARACTERS = 64, 1000  # each is looked for after every token
MOST_LIKELIEST = 100  # that each token is told with


def generate(models: Models, limits: Limits, request: GenerateRequest, arrived: float, pieces: Pieces) -> None:
    """Begin to answer a request that arrived at a time of `time.monotonic`. Raises ServiceError for a refusal."""
    violations = Violations()
    sampling, seed = read_sampling(request.sampling, violations)
    _check(request, violations)
    violations.refuse()
    admit_texts([request.prompt, *(each.role + each.content for each in request.chat.messages)], limits)
    is_chat = request.HasField("chat")
    model = pieces.keep(models.lease(request.model, Task.CHAT if is_chat else Task.GENERATE))
    generation = GenerationRequest(
        prompt=tuple(_prompt(request, model)),
        max_tokens=request.max_tokens,
        sampling=sampling,
        constraints=model.constraints,
        seed=seed,
        stop=tuple(request.stop),
        top_log_probabilities=request.top_log_probabilities if request.HasField("top_log_probabilities") else None,
    )
    answering = Answering(GenerateResponse, "chat" if is_chat else "prompt", model, arrived, pieces)
    answering.begin(lambda on_event: model.engine.submit(generation, on_event))


def _check(request: GenerateRequest, violations: Violations) -> None:
    """Note what is wrong whatever the model is."""
    match request.WhichOneof("input"):
        case "chat":
            violations.some("chat.messages", request.chat.messages)
            for place, message in enumerate(request.chat.messages):
                if not message.role:
                    violations.note(f"chat.messages[{place}].role", "needed, as user or assistant")
        case None:
            violations.note("prompt", "needed, expected a prompt or a chat")
    violations.within("max_tokens", request.max_tokens, 0)
    if len(request.stop) > MOST_STOPS:
        violations.note("stop", f"has {len(request.stop)} elements, expected at most {MOST_STOPS}")
    for place, stop in enumerate(request.stop):
        if not 0 < len(stop) <= MOST_STOP_CHARACTERS:
            said = f"has {len(stop)} characters, expected from 1 to {MOST_STOP_CHARACTERS}"
            violations.note(f"stop[{place}]", said)
    violations.within("top_log_probabilities", request.top_log_probabilities, 0, MOST_LIKELIEST)


def _prompt(request: GenerateRequest, model: "ServedModel") -> list[int]:
    """The tokens that the model reads. Raises InvalidRequestError for a chat that its template refuses."""
    if not request.HasField("chat"):
        return model.files.tokenizer.encode(request.prompt).ids
    with refusals("chat"):
        return model.chat_tokens([{"role": each.role, "content": each.content} for each in request.chat.messages])
