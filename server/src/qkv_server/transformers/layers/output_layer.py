"""Logits, the largest product of a small decoder's step: n rows with all of a vocabulary.

Letters in the shapes: n streams, N tokens, D hidden size, V vocabulary, b tokens of a block.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.layers.halves import Halves
from qkv_server.transformers.layers.linear import SMALL_PRODUCT

Array = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

# Tokens of a block. At 256 features it is a small product with up to 61 rows: all of 32,000 tokens take 1.6 ms for 16
# rows and 2.7 ms for 32, where one product takes 3.2 and 4.4 ms.
BLOCK = 64


@dataclass(frozen=True, eq=False, slots=True)
class OutputLayer:
    """x·Wᵀ + b for the rows W (V, D) of tokens, laid out for few rows: made by `output_layer`."""

    blocks: Array  # (⌈V / b⌉, D, b), the last one filled with zeros
    bias: Array | None  # (V,)
    vocabulary_size: int  # V
    halves: Halves | None = None

    def __len__(self) -> int:
        """V."""
        return self.vocabulary_size

    def rows(self, ids: Ids) -> Array:
        """The rows W (N, D) of tokens (N,): a model whose input and output share a table has it once."""
        width = self.blocks.shape[2]
        rows: Array = self.blocks[ids // width, :, ids % width]
        return rows

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
