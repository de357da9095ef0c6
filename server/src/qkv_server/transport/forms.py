"""The forms in which messages travel: the binary encoding of protobuf, and its JSON."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from qkv import Violation
from qkv.integers import RANGES, beyond
from qkv.wire import Draft, Received, receive
from qkv_server.service.errors import InvalidRequestError
from qkv_server.service.violations import Violations


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
    violations = Violations()
    _check(fields, kind.DESCRIPTOR, "", violations)
    violations.refuse()
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


def _check(fields: dict[str, Any], message: Any, path: str, violations: Violations) -> None:
    """Note, at any depth, what json_format would tell of one field alone, or in words of its own.

    That is keys that are no field of their message, second fields of a oneof, and integers beyond their type.
    """
    known = {name: field for field in message.fields for name in (field.json_name, field.name)}
    chosen: dict[str, str] = {}  # the field of each oneof
    for key, value in fields.items():
        field = known.get(key)
        if field is None:
            expected = ", ".join(field.json_name for field in message.fields)
            violations.note(f"{path}{key}", f"is no field of {message.full_name}, expected one of {expected}")
            continue
        if field.containing_oneof is not None and value is not None:
            first = chosen.setdefault(field.containing_oneof.name, field.name)
            if first != field.name:
                violations.note(f"{path}{field.name}", f"excluded by {path}{first}, expected one of the two")
        if field.message_type is not None or field.cpp_type in RANGES:  # others may be long lists of numbers
            for position, inner in enumerate(value if isinstance(value, list) else [value]):
                index = f"[{position}]" if field.is_repeated else ""
                _check_element(inner, field, f"{path}{field.name}{index}", violations)


def _check_element(value: Any, field: Any, path: str, violations: Violations) -> None:
    if isinstance(value, dict) and field.message_type and not field.message_type.GetOptions().map_entry:
        _check(value, field.message_type, f"{path}.", violations)
    elif wrong := beyond(field, _integer(value)):
        violations.note(path, wrong)


def _integer(value: object) -> object:
    """A string that is an integer, as 64-bit ones are in JSON, as that; anything else as it is."""
    try:
        return int(value) if isinstance(value, str) else value
    except ValueError:
        return value


def refusal(description: str) -> InvalidRequestError:
    """Of a request as a whole, with what is wrong with it."""
    return InvalidRequestError([Violation("request", description)])
