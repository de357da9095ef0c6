"""The operands of any message, by their paths: field names parted by dots, a number is a place in a repeated field."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from qkv.v1.tensor_pb2 import Operand


def operands(message: Message, path: str = "") -> Iterator[tuple[str, Operand]]:
    """Every operand that is set, in the order of the fields."""
    for field, content in message.ListFields():
        if field.message_type is None:
            continue
        name = f"{path}{field.name}"
        one = isinstance(content, Message)
        for place, inner in [(name, content)] if one else [(f"{name}.{i}", each) for i, each in enumerate(content)]:
            if isinstance(inner, Operand):
                yield place, inner
            else:
                yield from operands(inner, f"{place}.")


def operand_at(message: Message, path: str) -> Operand:
    """The operand at a path, whether it is set or not."""
    enclosing, name = field_at(message, path)
    operand = getattr(enclosing, name)
    assert isinstance(operand, Operand)  # noqa: S101 - a path that this package wrote
    return operand


def field_at(message: Message, path: str) -> tuple[Any, str]:
    """The message that has the field at a path, and the name of the field in it."""
    found: Any = message
    *enclosing, last = path.split(".")
    for name in enclosing:
        found = found[int(name)] if name.isdecimal() else getattr(found, name)
    return found, last
