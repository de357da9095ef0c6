"""Which integers the fields of messages hold."""

from typing import Any

from google.protobuf.descriptor import FieldDescriptor

RANGES = {  # from the least to the most, by type
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def beyond(field: Any, value: object) -> str | None:
    """What is wrong with an integer that a field, by its descriptor, cannot hold; None for every other value."""
    if field.cpp_type not in RANGES or not isinstance(value, int):
        return None
    least, most = RANGES[field.cpp_type]
    return None if least <= value <= most else f"is {value}, expected from {least} to {most}"
