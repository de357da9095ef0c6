"""Calls that must fail: by every kind of wrong field, by their size, and by their deadline.

Sizes are their own: what is refused needs no numbers. Limits are those of a server that was told no others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import Message

from qkv._attention import attention
from qkv._calls import Call
from qkv._differentiate import differentiate
from qkv._merge import merge
from qkv.v1 import tensor_pb2
from qkv.v1.tensor_pb2 import DataType, Tensor
from qkv.vectors.draw import Draw
from qkv.vectors.operands import field_at, operand_at
from qkv.vectors.vector import TIMEOUT, Refusal

INVALID, REASON = "INVALID_ARGUMENT", "INVALID_REQUEST"


@dataclass(frozen=True, slots=True)
class Refused:
    """A call, and how it fails. `change` is done to its request."""

    build: Callable[[Draw], Call[Any]]
    refusal: Refusal
    change: Callable[[Any], object] = lambda _: None
    timeout: float = TIMEOUT


def _invalid(*fields: str) -> Refusal:
    return Refusal(INVALID, REASON, tuple(sorted(fields)))


def _plain(x: Draw) -> Call[Any]:
    return attention(*_qkv(x))


def _qkv(x: Draw) -> tuple[np.ndarray[Any, Any], ...]:
    return x.array(1, 2, 3, 4), x.array(1, 2, 5, 4), x.array(1, 2, 5, 4)


def _set(path: str, value: Any) -> Callable[[Message], None]:
    """What sets the field at a path."""
    return lambda message: setattr(*field_at(message, path), value)


def _tensor(path: str, data_type: DataType, shape: tuple[int, ...], data: bytes) -> Callable[[Message], None]:
    """What sets the operand at a path to a tensor, also to one whose bytes are no array."""
    return lambda message: operand_at(message, path).tensor.CopyFrom(
        Tensor(data_type=data_type, shape=shape, data=data)
    )


def _matrix(path: str, rows: int, columns: int, values: list[float]) -> Callable[[Message], None]:
    def change(message: Message) -> None:
        matrix = operand_at(message, path).matrix
        matrix.rows, matrix.columns = rows, columns
        matrix.values.extend(values)

    return change


REFUSALS: Mapping[str, Refused] = {
    "no_query": Refused(_plain, _invalid("query"), lambda request: request.ClearField("query")),
    "wrong_shape": Refused(lambda x: attention(x.array(3, 4), x.array(5, 6)), _invalid("key")),
    "wrong_type": Refused(lambda _: attention(np.ones((3, 4), np.int32)), _invalid("query")),
    "two_wrong_fields": Refused(
        lambda x: attention(*_qkv(x), mask=x.flags(7, 5), sinks=x.array(3)),
        _invalid("visibility.mask", "scoring.sinks"),
    ),
    "ambiguous_alignment": Refused(lambda x: attention(*_qkv(x), causal=True), _invalid("visibility.alignment")),
    "ambiguous_mask": Refused(lambda x: attention(*_qkv(x), mask=x.flags(3, 1)), _invalid("visibility.mask")),
    "ambiguous_lengths": Refused(
        lambda x: attention(*_qkv(x), past_key=x.array(1, 2, 1, 4), past_value=x.array(1, 2, 1, 4), key_lengths=[4]),
        _invalid("visibility.key_lengths"),
    ),
    "unknown_enum_number": Refused(_plain, _invalid("visibility.alignment"), _set("visibility.alignment", 99)),
    "unspecified_quantity": Refused(_plain, _invalid("outputs"), lambda request: request.outputs.append(0)),
    "unknown_semantics_version": Refused(_plain, _invalid("semantics_version"), _set("semantics_version", 99)),
    "byte_count": Refused(
        _plain, _invalid("query.tensor.data"), _tensor("query", tensor_pb2.DATA_TYPE_FLOAT32, (1, 2, 3, 4), bytes(95))
    ),
    "boolean_byte": Refused(
        _plain,
        _invalid("visibility.mask.tensor.data"),
        _tensor("visibility.mask", tensor_pb2.DATA_TYPE_BOOL, (5,), b"\1\0\2\0\1"),
    ),
    "negative_axis": Refused(
        _plain, _invalid("key.tensor.shape"), _tensor("key", tensor_pb2.DATA_TYPE_FLOAT32, (1, 2, -5, 4), bytes(160))
    ),
    "value_count": Refused(
        lambda x: attention(x.array(2, 2)), _invalid("query.matrix.values"), _matrix("query", 2, 2, [1.0, 2.0, 3.0])
    ),
    "scale_nan": Refused(lambda x: attention(*_qkv(x), scale=float("nan")), _invalid("scoring.scale")),
    "window_negative": Refused(
        lambda x: attention(*_qkv(x), window=(-1, None), alignment="top_left"), _invalid("visibility.window_left")
    ),
    "path_without_a_rule": Refused(
        lambda x: attention(*_qkv(x), softmax_axis="queries", path="tiled"), _invalid("path")
    ),
    "rotary_size_odd": Refused(
        lambda x: attention(x.array(3, 4), rotary={"rotary_size": 3}), _invalid("rotary.rotary_size")
    ),
    "gradient_two_wrong_fields": Refused(
        lambda x: differentiate(x.array(1, 2, 3, 4), *_qkv(x), scale=float("inf")),
        _invalid("attention.scoring.scale", "d_output.tensor.data"),
        _tensor("d_output", tensor_pb2.DATA_TYPE_FLOAT32, (1, 2, 3, 4), b"\0"),
    ),
    "merge_no_parts": Refused(lambda _: merge([]), _invalid("parts")),
    "merge_wrong_shape": Refused(
        lambda x: merge([(x.array(3, 4), x.array(3)), (x.array(2, 4), x.array(3))]), _invalid("parts[1].output")
    ),
    "too_large": Refused(
        lambda x: attention(x.array(2**14, 1), outputs=["scores"]), Refusal("RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE")
    ),
    "deadline": Refused(  # longer than any machine needs to see that the time is over
        lambda x: attention(x.array(2**13, 1)), Refusal("DEADLINE_EXCEEDED"), timeout=1e-6
    ),
}
