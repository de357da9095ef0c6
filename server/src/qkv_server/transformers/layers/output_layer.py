"""Logits, the largest product of a small decoder's step: n rows with all of a vocabulary.

Letters in the shapes: n streams, D hidden size, V vocabulary, b tokens of a block.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.layers.halves import Halves

Array = npt.NDArray[np.float32]

# OpenBLAS reads the operands of a product of up to 10^6 multiplications where they lie, on processors with AVX-512; it
# packs larger ones first, which takes longer than to multiply few rows. Blocks of 64 tokens at 256 features are that
# small for 61 rows: 1.6 ms for 16 rows and 32,000 tokens, 2.7 ms for 32, where one product takes 3.2 and 4.4 ms.
BLOCK = 64
SMALL_PRODUCT = 10**6


@dataclass(frozen=True, eq=False, slots=True)
class OutputLayer:
    """x·Wᵀ + b for the rows W (V, D) of tokens, laid out for few rows: made by `output_layer`."""

    blocks: Array  # (⌈V / b⌉, D, b), the last one filled with zeros
    bias: Array | None  # (V,)
    vocabulary_size: int  # V
    halves: Halves | None = None

    def __call__(self, x: Array) -> Array:
        """(n, D) → (n, V), rows contiguous."""
        count, features, width = self.blocks.shape
        logits = np.empty((len(x), count * width), np.float32)
        of_blocks = logits.reshape(len(x), count, width).swapaxes(0, 1)  # (blocks, n, b)
        passes = -(-len(x) * features * width // SMALL_PRODUCT)

        def multiply(blocks: slice) -> None:
            for rows, out in zip(np.array_split(x, passes), np.array_split(of_blocks, passes, axis=1), strict=True):
                np.matmul(rows, self.blocks[blocks], out=out[blocks])

        if self.halves is None:
            multiply(slice(None))
        else:
            self.halves.run(lambda: multiply(slice(count // 2)), lambda: multiply(slice(count // 2, None)))
        logits = logits[:, : self.vocabulary_size]
        if self.bias is not None:
            logits += self.bias
        return logits


def output_layer(table: Array, bias: Array | None = None, halves: Halves | None = None) -> OutputLayer:
    """Of the rows (V, D) of tokens, and a bias (V,)."""
    size, features = table.shape
    padded = np.zeros((-(-size // BLOCK) * BLOCK, features), np.float32)
    padded[:size] = table
    blocks = np.ascontiguousarray(padded.reshape(-1, BLOCK, features).swapaxes(1, 2))
    return OutputLayer(blocks, bias, size, halves)
