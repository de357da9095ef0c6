"""From the message Rotary to the core's: positions, frequencies, and how they are scaled."""

from typing import Any

from qkv.v1 import attention_pb2
from qkv_server import core
from qkv_server.core.rotary_scaling import Scaling
from qkv_server.service.reader import Reader

PREFIX = "rotary."

SCALINGS: dict[str, type[Scaling]] = {  # by the field of the oneof
    "linear": core.LinearScaling,
    "dynamic_ntk": core.DynamicNtkScaling,
    "yarn": core.YarnScaling,
    "longrope": core.LongRopeScaling,
    "llama3": core.Llama3Scaling,
}


def read_rotary(message: attention_pb2.Rotary, reader: Reader) -> core.Rotary:
    """The rotary embedding of a request, its operands decoded."""
    pairing = reader.choice(core.RotaryPairing, attention_pb2.RotaryPairing, message.pairing, f"{PREFIX}pairing")
    return core.Rotary(
        base=message.base,
        rotary_size=message.rotary_size,
        pairing=pairing or core.RotaryPairing.HALF_SPLIT,
        query_positions=reader.operand(message, "query_positions", PREFIX),
        key_positions=reader.operand(message, "key_positions", PREFIX),
        sequence_length=message.sequence_length,
        scaling=_scaling(message),
    )


def _scaling(message: attention_pb2.Rotary) -> Scaling | None:
    kind = message.WhichOneof("scaling")
    if kind is None:
        return None
    chosen: Any = getattr(message, kind)
    numbers: dict[str, Any] = {
        field.name: _number_or_numbers(getattr(chosen, field.name))
        for field in chosen.DESCRIPTOR.fields
        if not field.has_presence or chosen.HasField(field.name)
    }
    return SCALINGS[kind](**numbers)


def _number_or_numbers(value: Any) -> Any:
    return value if isinstance(value, int | float) else tuple(value)
