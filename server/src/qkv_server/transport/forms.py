"""The forms in which messages travel: the binary encoding of protobuf, and its JSON."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from qkv import Violation
from qkv.wire import Draft, Received, receive
from qkv_server.service.errors import InvalidRequestError

MOST_VIOLATIONS = 100  # of unknown fields, more than a status holds


@dataclass(frozen=True, slots=True)
class Form:
    """How the bytes of a request are read, and a response is written; `name` is what content types call it.

    `read` raises InvalidRequestError for bytes that are no message of the kind.
    """

    name: str
    read: Callable[[bytes, type[Message]], Received[Message]]
    write: Callable[[Draft[Any]], bytes]


def _read_binary(payload: bytes, kind: type[Message]) -> Received[Message]:
    try:
        return receive(payload, kind)
    except DecodeError:
        raise refusal(f"these {len(payload)} bytes are no {kind.DESCRIPTOR.full_name} message") from None


def _read_json(payload: bytes, kind: type[Message]) -> Received[Message]:
    try:
        fields = json.loads(payload, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, a number of thousands of digits
        raise refusal(f"these {len(payload)} bytes are no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise refusal(f"is no JSON object, expected the fields of a {kind.DESCRIPTOR.full_name}")
    violations = list(islice(_unknown(fields, kind.DESCRIPTOR, ""), MOST_VIOLATIONS))
    if violations:
        raise InvalidRequestError(violations)
    message = kind()
    try:
        json_format.ParseDict(fields, message)
    except json_format.ParseError as error:
        raise refusal(str(error).rstrip(".")) from None
    return Received(message)


def _write_json(draft: Draft[Any]) -> bytes:
    return json_format.MessageToJson(draft.whole(), indent=None, ensure_ascii=False).encode()


BINARY = Form("proto", _read_binary, Draft.encode)
JSON = Form("json", _read_json, _write_json)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, which means something only if no key comes twice."""
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key in fields:
            raise ValueError(f"{key!r} stands twice in one object")
        fields[key] = value
    return fields


def _unknown(fields: dict[str, Any], message: Any, path: str) -> Iterator[Violation]:
    """A violation for each key, at any depth, that is no field of its message; json_format would name only one."""
    known = {name: field for field in message.fields for name in (field.json_name, field.name)}
    for key, value in fields.items():
        field = known.get(key)
        if field is None:
            expected = ", ".join(field.json_name for field in message.fields)
            yield Violation(f"{path}{key}", f"is no field of {message.full_name}, expected one of {expected}")
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for position, inner in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(inner, dict):
                    index = f"[{position}]" if field.is_repeated else ""
                    yield from _unknown(inner, field.message_type, f"{path}{field.name}{index}.")


def refusal(description: str) -> InvalidRequestError:
    """Of a request as a whole, with what is wrong with it."""
    return InvalidRequestError([Violation("request", description)])
