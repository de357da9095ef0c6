"""From the message Scoring to the core's: how a visible pair is scored."""

from qkv import codec
from qkv.v1 import attention_pb2
from qkv.v1.tensor_pb2 import DataType
from qkv_server import core
from qkv_server.core.precision import DType
from qkv_server.service.reader import Reader

PREFIX = "scoring."


def read_scoring(message: attention_pb2.Scoring, reader: Reader) -> core.Scoring:
    """The scoring of a request, its operands decoded."""
    axis = reader.choice(core.SoftmaxAxis, attention_pb2.SoftmaxAxis, message.softmax_axis, f"{PREFIX}softmax_axis")
    base = reader.choice(core.LogBase, attention_pb2.LogBase, message.log_base, f"{PREFIX}log_base")
    return core.Scoring(
        scale=message.scale if message.HasField("scale") else None,
        softcap=message.softcap,
        softmax_axis=axis or core.SoftmaxAxis.KEYS,
        softmax_precision=_precision(message.softmax_precision, reader),
        log_base=base or core.LogBase.E,
        sinks=reader.operand(message, "sinks", PREFIX),
        alibi=_alibi(message, reader),
        relative_bias=_relative_bias(message, reader),
    )


def _precision(data_type: DataType, reader: Reader) -> DType | None:
    if not data_type:
        return None
    precision = codec.DTYPES.get(data_type)
    if precision is None:
        known = ", ".join(DataType.keys()[1:])
        reader.note(f"{PREFIX}softmax_precision", f"is {data_type}, expected one of {known}")
    return precision


def _alibi(message: attention_pb2.Scoring, reader: Reader) -> core.Alibi | None:
    if not message.HasField("alibi"):
        return None
    return core.Alibi(slopes=reader.operand(message.alibi, "slopes", f"{PREFIX}alibi."))


def _relative_bias(message: attention_pb2.Scoring, reader: Reader) -> core.RelativeBias | None:
    if not message.HasField("relative_bias"):
        return None
    bias = message.relative_bias
    return core.RelativeBias(
        table=reader.needed(bias, "table", f"{PREFIX}relative_bias."),
        bidirectional=bias.bidirectional,
        max_distance=bias.max_distance,
    )
