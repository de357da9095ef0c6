"""The calls of ModelService.Generate: a text continued, or a chat."""

from collections.abc import Sequence
from typing import TypedDict, Unpack

from qkv._calls import Method, TextCall
from qkv._fields import set_fields, several
from qkv._names import check_entries, refuse_unknown
from qkv._text_options import GenerateOptions, set_sampling
from qkv.v1.models_pb2 import GenerateRequest, GenerateResponse
from qkv.wire import Draft

GENERATE = Method("/qkv.v1.ModelService/Generate", GenerateResponse)


class ChatMessage(TypedDict):
    """One message of a chat."""

    role: str
    """Who speaks: system, user, assistant, or what else the template of the model knows."""
    content: str
    """What is said."""


def generate(prompt: str, **options: Unpack[GenerateOptions]) -> TextCall:
    """The continuation of a text, in pieces as they come.

        for piece in client.generate("Once upon a time", max_tokens=50):
            print(piece, end="", flush=True)

    The options are those of `qkv.GenerateOptions`. What is returned is a `qkv.TextStream`, of an asyncio client a
    `qkv.AsyncTextStream`; once it was read to its end, it has `result`: the whole text, why it ended, usage, seed,
    log-probabilities. `read()` waits for all that. Raises, where it is read, as `tokenize` does, TooLargeError for a
    prompt that the context does not hold, and UnavailableError on overload.
    """
    request = GenerateRequest()
    set_fields(request, {"prompt": prompt})
    return _call(request, options)


def chat(messages: Sequence[ChatMessage], **options: Unpack[GenerateOptions]) -> TextCall:
    """The assistant's answer to a chat, in pieces as they come, of models with a chat template.

        client.chat([{"role": "user", "content": "What is attention?"}]).read().text

    Otherwise as `generate`.
    """
    request = GenerateRequest()
    request.chat.SetInParent()
    for place, message in enumerate(several(messages, "messages")):
        path = f"messages[{place}]"
        check_entries(message, ChatMessage.__annotations__, path)
        set_fields(request.chat.messages.add(), {**message}, f"{path}.")
    return _call(request, options)


def _call(request: GenerateRequest, options: GenerateOptions) -> TextCall:
    refuse_unknown(options, GenerateOptions.__annotations__, "option")
    plain = ("model", "max_tokens", "top_log_probabilities")
    set_fields(request, {name: options.get(name) for name in plain})
    if (stop := options.get("stop")) is not None:
        set_fields(request, {"stop": several(stop, "stop")})
    set_sampling(request.sampling, options)
    return TextCall(GENERATE, Draft(request), options.get("timeout"), options.get("wait_for_ready"))
