"""Reads the fields of a request: bytes to arrays, enums to names; what is wrong is remembered, not raised."""

from enum import Enum
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

from qkv import Violation, codec
from qkv.wire import Received, data_of
from qkv_server import core

Array = npt.NDArray[Any]
E = TypeVar("E", bound=Enum)

SEMANTICS_VERSION = 1


class Reader:
    """Reads one request, or the message in one field of it, whose path ends in a dot.

    `violations` are what is wrong with it so far, named from where the reader began.
    """

    def __init__(self, request: Received[Message], path: str = "") -> None:
        self._apart = request.apart
        self._path = path
        self.violations: list[Violation] = []
        self.every_shape_known = True

    def operand(self, message: Message, name: str, prefix: str = "") -> Array | None:
        """The array of an operand; None if it is not given, or has no shape.

        Where only its elements are wrong it is a read-only array of zeros of its shape.
        """
        if not message.HasField(name):
            return None
        data = self._apart.get(data_of(f"{self._path}{prefix}{name}"))
        violations, array = codec.decode(getattr(message, name), prefix + name, data)
        self.violations += violations
        self.every_shape_known &= array is not None
        return array

    def needed(self, message: Message, name: str, prefix: str = "") -> Array:
        """The array of an operand that must be given; an empty one, with a violation, if there is none."""
        array = self.operand(message, name, prefix)
        if array is not None:
            return array
        self.every_shape_known = False
        if not message.HasField(name):
            self.note(prefix + name, "needed, expected a matrix or a tensor")
        return np.empty((0, 0))

    def choice(
        self, choices: type[E], enum: EnumTypeWrapper, number: int, field: str, *, needed: bool = False
    ) -> E | None:
        """The core's name of an enum value; None for UNSPECIFIED, or when the number is not known, which is noted."""
        if number == 0 and not needed:
            return None
        if number == 0 or number not in enum.values():
            self.note(field, f"is {number}, expected one of {', '.join(enum.keys()[1:])}")
            return None
        prefix = enum.Name(0).removesuffix("UNSPECIFIED")
        return choices[enum.Name(number).removeprefix(prefix)]

    def semantics_version(self, version: int) -> None:
        """Note a version of the semantics that this server does not have."""
        if version not in (0, SEMANTICS_VERSION):
            self.note("semantics_version", f"is {version}, expected {SEMANTICS_VERSION}, or 0 for the newest")

    def note(self, field: str, description: str) -> None:
        """Note that a field is wrong."""
        self.violations.append(Violation(field, description))

    def note_found(self, error: core.InvalidProblemError) -> None:
        """Note what the core found, but for fields of which something was said already."""
        told = [violation.field for violation in self.violations]
        for found in error.violations:
            if not any(field == found.field or field.startswith(f"{found.field}.") for field in told):
                self.note(found.field, found.description)
