"""From hidden states to one vector for each text, and which texts are computed together.

Letters in the shapes: n texts, N tokens of all of them, D hidden size.
"""

from collections.abc import Sequence
from enum import Enum

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

PACK_TOKENS = 512  # of one pack: enough for products at full speed, few enough that its arrays stay in the cache


class Pooling(Enum):
    """How the vector of a text is made of those of its tokens; the values are what ModelFiles.sentence says."""

    MEAN = "mean"  # of all tokens, special ones too
    CLS = "cls"  # the first
    LAST = "last"


def packs(lengths: Sequence[int], tokens: int = PACK_TOKENS) -> list[list[int]]:
    """Texts of these lengths in packs of about so many tokens, by place; the longest texts come first.

    Texts of like length are together, so that those of equal length share their products. A text that is longer is a
    pack of its own.
    """
    packed: list[list[int]] = []
    room = 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if lengths[place] > room:
            packed.append([])
            room = tokens
        packed[-1].append(place)
        room -= lengths[place]
    return packed


def pool(states: Array, lengths: Sequence[int], pooling: Pooling) -> Array:
    """Packed hidden states (N, D) of n texts of at least one token → (n, D)."""
    counts = np.asarray(lengths, np.int64)
    ends = np.cumsum(counts)
    begins = ends - counts
    pooled: Array
    match pooling:
        case Pooling.CLS:
            pooled = states[begins]
        case Pooling.LAST:
            pooled = states[ends - 1]
        case Pooling.MEAN:
            pooled = np.add.reduceat(states, begins, axis=0)
            pooled /= counts.astype(np.float32)[:, None]
    return pooled


def normalize(vectors: Array) -> Array:
    """Vectors (n, D) scaled to length 1, in place; a vector of zeros stays what it is."""
    norms: Array = np.sqrt(np.vecdot(vectors, vectors))[:, None]
    vectors /= np.where(norms > 0, norms, 1)
    return vectors
