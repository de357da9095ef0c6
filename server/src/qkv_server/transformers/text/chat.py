"""From the messages of a chat to the text that a model was trained on, by the template that comes with the model.

Templates are programs in Jinja, written for Hugging Face's `apply_chat_template`; they find here what they find there.
They run in Jinja's sandbox, within bounds of size and, as far as they write, of time: whoever made the model wrote
them.
"""

import functools
import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from qkv_server.transformers.errors import TemplateError

_SECONDS = 5.0
_MOST_CHARACTERS = 50_000_000
_MOST_REPEATED = 1_000_000  # elements that `*` may make, and bits that `**` may


def render(template: str, messages: Sequence[Mapping[str, str]], special_tokens: Mapping[str, str]) -> str:
    """The text of messages (each with role and content), which ends where the answer begins.

    Special tokens are written by the template: tokenize the text without adding any. Raises TemplateError.
    """
    deadline = time.monotonic() + _SECONDS
    pieces, size = [], 0
    try:
        for piece in _compiled(template).generate(
            **special_tokens,
            messages=[dict(message) for message in messages],
            tools=None,
            documents=None,
            add_generation_prompt=True,
        ):
            size += len(piece)
            if size > _MOST_CHARACTERS or time.monotonic() > deadline:
                bounds = f"{_MOST_CHARACTERS:.0f} characters or took more than {_SECONDS:g} s"
                raise TemplateError(f"the chat template wrote more than {bounds}")
            pieces.append(piece)
    except TemplateError:
        raise
    except Exception as error:  # a template may fail in any way that Python can
        raise TemplateError(f"the chat template fails: {type(error).__name__}: {error}") from error
    return "".join(pieces)


def check_template(template: str) -> None:
    """Raise TemplateError for what is no template."""
    _compiled(template)


@functools.lru_cache(maxsize=64)
def _compiled(template: str) -> jinja2.Template:
    try:
        return _environment().from_string(template)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"the chat template is no Jinja: {error.message}, line {error.lineno}") from error
    except Exception as error:  # Python compiles what Jinja makes of it, and has bounds of its own
        raise TemplateError(f"the chat template cannot be compiled: {error}") from error


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's own bounds `range`; repetition and powers are bounded here."""

    intercepted_binops = frozenset(["*", "**"])

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        if _magnitude(operator, left, right) > _MOST_REPEATED:
            raise TemplateError(f"the chat template asks for too large a result of {operator}")
        return super().call_binop(context, operator, left, right)


def _magnitude(operator: str, left: Any, right: Any) -> int:
    """How many elements, or bits, an operation would make; 0 for what is small by nature."""
    if operator == "**":
        return left.bit_length() * right if isinstance(left, int) and isinstance(right, int) else 0
    for sequence, times in ((left, right), (right, left)):
        if isinstance(times, int) and isinstance(sequence, str | list | tuple):
            return len(sequence) * times
    return left.bit_length() + right.bit_length() if isinstance(left, int) and isinstance(right, int) else 0


class _Generation(Extension):
    """`{% generation %}` marks, for training, what the assistant said; here its content is all that counts."""

    tags = {"generation"}  # noqa: RUF012 - as the base class has it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> _Sandbox:
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    """JSON as it is: Jinja's own filter escapes it for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise_exception(message: object) -> NoReturn:
    raise TemplateError(f"the chat template refuses these messages: {message}")


def _strftime_now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)
