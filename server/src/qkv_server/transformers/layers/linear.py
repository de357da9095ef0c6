"""Linear layers: y = x·Wᵀ + b, with weights (out, in) as `torch.nn.Linear` stores them, in the layout that is fast."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.layers.halves import Halves

Array = npt.NDArray[Any]

# Bytes of a weight from which a second core is worth waking, by what bounds the product: for one row the memory alone,
# which one core reads at two thirds of the rate of two, and a thread that sleeps takes 50 µs to begin.
SHARED_BYTES_ONE_ROW, SHARED_BYTES = 8 * 2**20, 2**20
# Multiplications up to which OpenBLAS reads operands where they lie, with AVX-512. Otherwise it packs them first: a
# product (3072, 576) with 2 to 4 columns takes 2.6 times as long then, with 8 twice, with 16 a little more.
SMALL_PRODUCT, KERNEL_ROWS = 10**6, 16


@dataclass(frozen=True, eq=False, slots=True)
class Linear:
    """A linear layer. The weight is (out, in) by its shape, in whatever order its memory is.

    C order is the one for decoders: a few rows read it as fast as memory can give it. Products lie (out, N) in memory
    then (`features_first`), and `halves` may compute the halves of large ones. Fortran order, (in, out) in memory, is
    the one for many rows.
    """

    weight: Array  # float32 (out, in)
    bias: Array | None = None  # float32 (out,)
    halves: Halves | None = None

    def __call__(self, x: Array) -> Array:
        """(N, in) → (N, out), float32, in the order that is the fastest."""
        y = self.product(x)
        if self.bias is not None:
            y += self.bias
        return y

    @property
    def features_first(self) -> bool:
        """Whether products lie (out, N) in memory."""
        return self.weight.flags.c_contiguous

    def product(self, x: Array, out: Array | None = None) -> Array:
        """x·Wᵀ without the bias, (N, in) → (N, out), for callers that add it while rows are in the cache.

        Into `out`, if given, it is one product, as is best for weights in Fortran order.
        """
        shared = self.halves is not None and self.weight.nbytes >= (
            SHARED_BYTES if len(x) > 1 else SHARED_BYTES_ONE_ROW
        )
        if out is not None or not self.features_first or (len(x) == 1 and not shared):
            return np.matmul(x, self.weight.T, out=out)
        y = np.empty((len(self.weight), len(x)), np.float32)
        columns = x.T  # (in, N)
        if _small_block(*columns.shape):  # which would be read where it lies, again and again
            columns = np.ascontiguousarray(columns)
        if self.halves is None or not shared:
            _multiply(self.weight, columns, y)
        else:
            middle = len(self.weight) // (2 * KERNEL_ROWS) * KERNEL_ROWS
            first, second = slice(0, middle), slice(middle, None)
            self.halves.run(
                lambda: _multiply(self.weight[first], columns, y[first]),
                lambda: _multiply(self.weight[second], columns, y[second]),
            )
        return y.T


def _small_block(width: int, count: int) -> int:
    """The most rows, of a weight of this width, whose product with so many columns is small; 0 if it is no kernel's."""
    return SMALL_PRODUCT // max(1, width * count) // KERNEL_ROWS * KERNEL_ROWS


def _multiply(weight: Array, columns: Array, y: Array) -> None:
    """Weight (out, in) · columns (in, N) in y (out, N), in blocks of rows that are small products if N is small."""
    (height, width), count = weight.shape, columns.shape[1]
    block = min(_small_block(width, count), height)
    if count == 1 or block == 0:
        np.matmul(weight, columns, out=y)
        return
    whole = height // block * block
    np.matmul(weight[:whole].reshape(-1, block, width), columns, out=y[:whole].reshape(-1, block, count))
    if whole < height:
        np.matmul(weight[whole:], columns, out=y[whole:])


def fused(weights: Sequence[Array], biases: Sequence[Array | None], *, input_major: bool) -> Linear:
    """Layers of the same input as one, whose answers stand one after another: weights (out, in) and biases (out,).

    A layer without a bias has zeros if another has one. `input_major` lays the weight out for many rows.
    """
    weight = np.concatenate(weights)
    bias = None
    if any(each is not None for each in biases):
        bias = np.concatenate(
            [np.zeros(len(w), w.dtype) if b is None else b for w, b in zip(weights, biases, strict=True)]
        )
    return Linear(np.asfortranarray(weight) if input_major else weight, bias)


class Arena:
    """One piece of memory for all weights of a model: large pages make it faster to read than many arrays."""

    def __init__(self, numbers: int) -> None:
        self._memory = np.empty(numbers, np.float32)
        self._used = 0

    def stacked(self, *parts: Array) -> Array:
        """The parts, (out, in) or (out,) each, one over another: (Σ out, …), copied; so are layers fused into one."""
        rows = sum(len(part) for part in parts)
        place = self._memory[self._used :][: rows * parts[0][0].size].reshape(rows, *parts[0].shape[1:])
        np.concatenate(parts, out=place)
        self._used += place.size
        return place
