"""From the message Visibility to the core's: which keys a query may see."""

from qkv.v1 import attention_pb2
from qkv_server import core
from qkv_server.service.reader import Reader

PREFIX = "visibility."


def read_visibility(message: attention_pb2.Visibility, reader: Reader) -> core.Visibility:
    """The visibility of a request, its operands decoded."""
    polarity = reader.choice(
        core.MaskPolarity, attention_pb2.MaskPolarity, message.mask_polarity, f"{PREFIX}mask_polarity"
    )
    empty_row = reader.choice(core.EmptyRow, attention_pb2.EmptyRow, message.empty_row, f"{PREFIX}empty_row")
    return core.Visibility(
        mask=reader.operand(message, "mask", PREFIX),
        mask_polarity=polarity or core.MaskPolarity.TRUE_ATTENDS,
        causal=message.causal,
        alignment=reader.choice(core.Alignment, attention_pb2.Alignment, message.alignment, f"{PREFIX}alignment"),
        window_left=message.window_left if message.HasField("window_left") else None,
        window_right=message.window_right if message.HasField("window_right") else None,
        key_lengths=tuple(message.key_lengths),
        query_lengths=tuple(message.query_lengths),
        empty_row=empty_row or core.EmptyRow.ZERO,
        chunk_size=message.chunk_size,
        cumulative_query_lengths=tuple(message.cumulative_query_lengths),
        cumulative_key_lengths=tuple(message.cumulative_key_lengths),
        block_map=reader.operand(message, "block_map", PREFIX),
        query_block_size=message.query_block_size,
        key_block_size=message.key_block_size,
    )
