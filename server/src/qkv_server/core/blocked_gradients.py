"""Gradients in blocks: the memory of a few tiles beside operands and answers ("FlashAttention", Dao et al., 2022).

The forward pass leaves the maximum and the sum of exponentials of each row, from which the weights of any tile are had
again; of rows that are not too long it keeps the exponentials. A task takes some key and value heads of a batch row and
goes over all their blocks and tiles, so that the sums for a key run in the order of the queries, whatever the number of
threads. The gradient of a mask, which heads and rows may share, is summed by tasks of its own.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from qkv_server.core import pieces
from qkv_server.core.blocked import Blocks, Kept, Plan
from qkv_server.core.dimensions import Dimensions
from qkv_server.core.empty_rows import empty_row
from qkv_server.core.hiding import clear_hidden
from qkv_server.core.positions import valid_keys
from qkv_server.core.precision import is_floating
from qkv_server.core.problem import Array, EmptyRow, Scoring, Visibility
from qkv_server.core.reference_gradients import finite, summed_to
from qkv_server.core.scratch import scratch
from qkv_server.core.threads import Cancellation, Spread, Task
from qkv_server.core.tile_scores import keys_of, per_group, tile_scratch
from qkv_server.core.tiles import Block, Tile, as_keys
from qkv_server.core.visibility import four_axes
from qkv_server.core.work import GradientWork

KEPT_BYTES = 2**24  # of exponentials of a block that are kept from the forward pass


class BlockedGradients:
    """The gradients of one problem: `run` them. Arguments as for `Blocks`; d_output (B, Hq, L, Dv) is 0 for padding."""

    def __init__(
        self,
        query: Array,
        key: Array,
        value: Array,
        d_output: Array,
        visibility: Visibility,
        scoring: Scoring,
        dimensions: Dimensions,
        plan: Plan,
        cancellation: Cancellation,
    ) -> None:
        d = self._dimensions = dimensions
        self._visibility, self._scoring, self._cancellation = visibility, scoring, cancellation
        self._plan = replace(plan, split=0)
        constant = replace(visibility, empty_row=EmptyRow.ZERO)
        self._forward = Blocks(query, key, value, constant, scoring, d, frozenset(), self._plan, cancellation)
        rows = (d.batch, d.kv_heads, d.groups, d.queries)
        self._query, self._key = finite(query).reshape(*rows, d.head_size), finite(key)
        self._value = value
        self._d_output = d_output.reshape(*rows, d.value_size)
        self._mean = np.zeros(rows, d.compute)  # the sum over each row's weights of weight · dweight
        self._d_query = np.zeros((*rows, d.head_size), d.compute)
        self._d_key, self._d_value = np.zeros(key.shape, d.compute), np.zeros(value.shape, d.compute)
        mask = visibility.mask
        self._d_mask: Array | None = None  # (B, Hq, L, T), any axis of which may be 1
        if mask is not None and is_floating(mask.dtype):
            self._d_mask = np.zeros(four_axes(mask).shape, d.compute)

    def run(self, spread: Spread) -> GradientWork:
        """Run every task and return the gradients."""
        spread(list(self._tasks_of_heads()))
        d, mask = self._dimensions, self._visibility.mask
        if self._d_mask is not None:
            spread(list(self._tasks_of_the_mask(self._d_mask.shape[2])))
        self._d_query *= self._forward.scores_of.scale
        self._d_key *= self._forward.scores_of.scale
        return GradientWork(
            d_query=self._d_query.reshape(d.batch, d.heads, d.queries, d.head_size),
            d_key=self._d_key,
            d_value=self._d_value,
            d_mask=None if self._d_mask is None or mask is None else self._d_mask.reshape(mask.shape),
            d_sinks=None if self._scoring.sinks is None else self._of_sinks(),
        )

    def _tasks_of_heads(self) -> Iterator[Task]:
        d = self._dimensions
        for row in range(d.batch):
            for head in range(0, d.kv_heads, self._plan.kv_heads):
                yield partial(self._of_heads, row, slice(head, min(head + self._plan.kv_heads, d.kv_heads)))

    def _tasks_of_the_mask(self, rows: int) -> Iterator[Task]:
        d = self._dimensions
        step = self._plan.queries if rows > 1 else max(d.queries, 1)  # of one row, to which every block adds
        for first in range(0, d.queries, step):
            yield partial(self._of_mask, slice(first, min(first + step, d.queries)))

    @np.errstate(all="ignore")  # each thread has its own
    def _of_heads(self, row: int, heads: slice) -> None:
        """Everything but the mask's, for the key and value heads of a batch row."""
        d_key: Array = self._d_key[row, heads]
        d_value: Array = self._d_value[row, heads]
        for block in self._blocks(row, heads, slice(0, self._dimensions.queries)):
            kept: Kept | None = [] if self._may_keep(block) else None
            self._forward.attend(block, kept=kept)
            self._mean[block.at] = np.einsum("...d,...d->...", self._d_output[block.at], self._forward.output[block.at])
            query, d_query = (self._rows_of(array, block) for array in (self._query, self._d_query))
            d_output = self._of_rows_that_see(block, d_value)
            for tile, weights, d_masked, slope in self._tiles(block, d_output, kept):
                d_value[:, tile.keys] += pieces.over_rows(weights, d_output, tile.cut)[:, : tile.width]
                if slope is not None:  # which is NaN where what is hidden is
                    np.multiply(d_masked, slope, out=d_masked, where=d_masked != 0)
                pieces.add_sums(d_query, d_masked, keys_of(self._key, block, tile), tile.cut)
                d_key[:, tile.keys] += pieces.over_rows(d_masked, query, tile.cut)[:, : tile.width]
            self._d_query[block.at] = d_query.reshape(self._d_query[block.at].shape)

    @np.errstate(all="ignore")
    def _of_mask(self, queries: slice) -> None:
        """The mask's, for some queries of every head and batch row."""
        for row in range(self._dimensions.batch):
            for head in range(self._dimensions.kv_heads):
                for block in self._blocks(row, slice(head, head + 1), queries):
                    d_output = self._of_rows_that_see(block, None)
                    for tile, _, d_masked, _ in self._tiles(block, d_output, None):
                        self._add_to_mask(per_group(d_masked, self._dimensions.groups, tile), block, tile)

    def _may_keep(self, block: Block) -> bool:
        """Whether the exponentials of a block are had for the gradients, and in memory that stays small."""
        d = self._dimensions
        rows = (block.kv_heads.stop - block.kv_heads.start) * d.groups * (block.queries.stop - block.queries.start)
        small = rows * d.all_keys * d.compute.itemsize <= KEPT_BYTES
        return small and self._forward.every_row_safe and not self._scoring.softcap

    def _rows_of(self, array: Array, block: Block) -> Array:
        """The rows of a block, (n, G·r, …), of an array (B, Hkv, G, L, …)."""
        part = array[block.at]
        rows: Array = part.reshape(part.shape[0], part.shape[1] * part.shape[2], *part.shape[3:])
        return rows

    def _add_to_mask(self, d_masked: Array, block: Block, tile: Tile) -> None:
        """Add the gradient (n, G, r, w) of a tile where its mask came from."""
        assert self._d_mask is not None  # noqa: S101 - asked only when there is one
        keys = as_keys(tile.keys)
        given = keys[keys < self._d_mask.shape[3]]
        part = self._forward.sight.rows_of(self._d_mask, block)  # a view: (n or 1, G or 1, r or 1, T)
        part[..., given] += summed_to(d_masked[..., : len(given)], part.shape)

    def _blocks(self, row: int, heads: slice, queries: slice) -> Iterator[Block]:
        for first in range(queries.start, queries.stop, self._plan.queries):
            yield Block(row, heads, slice(first, min(first + self._plan.queries, queries.stop)))

    def _of_rows_that_see(self, block: Block, d_value: Array | None) -> Array:
        """The gradient of the output of a block, (n, R, Dv), 0 for rows that see nothing.

        Where such a row is the mean of the values its gradient is shared by theirs (n, T, Dv), if these are given.
        """
        d_output = self._rows_of(self._d_output, block)
        forward = self._forward
        empty = forward.sight.empty(block, self._plan.keys, self._mean[block.at].shape).reshape(d_output.shape[:2])
        if not empty.any():
            return d_output
        if d_value is not None and empty_row(self._visibility, self._scoring) is EmptyRow.MEAN_VALUE:
            valid = valid_keys(self._visibility, self._dimensions)
            keys = np.flatnonzero(valid[block.row if len(valid) > 1 else 0])
            if len(keys):
                d_value[:, keys] += (np.where(empty[..., None], d_output, 0).sum(axis=1) / len(keys))[:, None]
        return np.where(empty[..., None], 0, d_output)

    def _tiles(
        self, block: Block, d_output: Array, kept: Kept | None
    ) -> Iterator[tuple[Tile, Array, Array, Array | None]]:
        """Of every tile of a block the weights, the gradient of the masked scores, and the slope of a softcap if any.

        All are (n, R, W) and last until the next. Exponentials are those that were kept, or made again.
        """
        forward, groups = self._forward, self._dimensions.groups
        maximum, normalise = forward.rows(block)
        mean = self._rows_of(self._mean, block)[..., None]
        for tile, exponentials, slope in self._exponentials(block, maximum) if kept is None else _without_slopes(kept):
            self._cancellation.check()
            weights = np.multiply(exponentials, normalise, out=exponentials)
            d_masked = scratch("d_masked", weights.shape, weights.dtype)
            pieces.scores(d_output, keys_of(self._value, block, tile), tile.cut, d_masked)
            d_masked -= mean
            d_masked *= weights
            for of_pairs in (d_masked, weights):
                clear_hidden(per_group(of_pairs, groups, tile), tile.visible)
            yield tile, weights, d_masked, slope

    def _exponentials(self, block: Block, maximum: Array) -> Iterator[tuple[Tile, Array, Array | None]]:
        """Of every tile of a block exponentials (n, R, W), 0 beyond the width, and the slope of a softcap if any."""
        forward = self._forward
        scaled = forward.scores_of.scaled(block)
        for tile in forward.sight.tiles(block, self._plan.keys, forward.sight.every_key()):
            out = tile_scratch("scores", scaled, tile)
            slope = tile_scratch("slope", scaled, tile) if self._scoring.softcap else None
            _, low = forward.scores_of.biased(scaled, block, tile, out, slope)
            if not forward.every_row_safe:
                out -= maximum
            if low is not None:
                out += low
            np.exp(out, out=out)
            out[..., tile.width :] = 0
            yield tile, out, slope

    @np.errstate(all="ignore")
    def _of_sinks(self) -> Array:
        """−Σ weight of the sink · Σ weight · dweight, of every row of a query head."""
        total: Array = -(self._forward.sink_weights() * self._mean).sum(axis=(0, 3))
        return total.ravel()


def _without_slopes(kept: Kept) -> Iterator[tuple[Tile, Array, None]]:
    for tile, exponentials in kept:
        yield tile, exponentials, None
