"""The one way in which every generating model is driven: streams that read tokens and say what may come next.

    stream = model.new_stream(capacity)            a decoder; an encoder-decoder: model.start(source_ids, capacity)
    logits = model.prefill(stream, prompt_ids)     (V,); in chunks, as the caller likes
    logits = model.step(streams, ids)              (n, V); one token for each of n streams, which share every product

Streams belong to their caller: a stream that nobody holds any more has given its memory back. A stream is used by one
thread at a time.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Stream(Protocol):
    """What a model remembers of the tokens that it has read."""

    @property
    def length(self) -> int:
        """Tokens that were read."""

    @property
    def capacity(self) -> int:
        """The most tokens that it can read."""

    @property
    def nbytes(self) -> int:
        """What its memory takes when it is full."""


S_contra = TypeVar("S_contra", bound=Stream, contravariant=True)


class SteppingModel(Protocol[S_contra]):
    """A model that continues streams."""

    @property
    def vocabulary_size(self) -> int:
        """V: how many logits there are."""

    @property
    def context_tokens(self) -> int:
        """The largest capacity of a stream."""

    @property
    def end_ids(self) -> frozenset[int]:
        """The tokens that end an answer."""

    def prefill(self, stream: S_contra, ids: Sequence[int]) -> Array:
        """Read some tokens, at least one: the logits (V,) float32 of what follows the last.

        Raises ValueError if the stream cannot hold them; nothing was read then.
        """

    def step(self, streams: Sequence[S_contra], ids: Sequence[int]) -> Array:
        """Read one token in each of n streams, which are all different: logits (n, V) float32.

        Raises ValueError if a stream is full; nothing was read then.
        """


def check_room(stream: Stream, tokens: int) -> None:
    """Raise ValueError if so many more tokens do not fit into a stream."""
    if stream.length + tokens > stream.capacity:
        raise ValueError(f"{stream.length} tokens and {tokens} more do not fit into {stream.capacity}")


def as_ids(ids: Sequence[int], vocabulary_size: int) -> npt.NDArray[np.int64]:
    """Tokens as an array; raises ValueError for one that the vocabulary does not have."""
    array = np.asarray(ids, np.int64)
    unknown = array[(array < 0) | (array >= vocabulary_size)]
    if len(unknown):
        raise ValueError(f"token {unknown[0]} is not in the vocabulary of {vocabulary_size}")
    return array
