"""Gradients in blocks: the memory of a few tiles beside operands and answers ("FlashAttention", Dao et al., 2022).

The forward pass leaves the logarithm of each row's sum of exponentials, from which the weights of any tile are had
again. A task takes some key and value heads of a batch row and goes over all their blocks and tiles, so that the sums
for a key run in the order of the queries, whatever the number of threads. The gradient of a mask, which heads and rows
may share, is summed by tasks of its own.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from qkv_server.core.blocked import Blocks, Plan
from qkv_server.core.dimensions import Dimensions
from qkv_server.core.empty_rows import empty_row
from qkv_server.core.positions import valid_keys
from qkv_server.core.precision import is_floating
from qkv_server.core.problem import Array, EmptyRow, Scoring, Visibility
from qkv_server.core.products import Factors
from qkv_server.core.reference_gradients import finite, summed_to
from qkv_server.core.scratch import scratch
from qkv_server.core.threads import Cancellation, Spread, Task
from qkv_server.core.tile_scores import keys_of, padded, per_group
from qkv_server.core.tiles import Block, Tile, as_keys
from qkv_server.core.visibility import four_axes
from qkv_server.core.work import GradientWork


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
        self._d_query = np.zeros((*rows, d.head_size), d.compute)
        self._d_key, self._d_value = np.zeros(key.shape, d.compute), np.zeros(value.shape, d.compute)
        mask = visibility.mask
        self._d_mask: Array | None = None  # (B, Hq, L, T), any axis of which may be 1
        if mask is not None and is_floating(mask.dtype):
            self._d_mask = np.zeros(four_axes(mask).shape, d.compute)

    def run(self, spread: Spread) -> GradientWork:
        """Run every task and return the gradients."""
        spread(list(self._forward.tasks()))
        self._before_any_tile()
        spread(list(self._tasks()))
        d, mask = self._dimensions, self._visibility.mask
        self._d_query *= self._forward.scores_of.scale
        self._d_key *= self._forward.scores_of.scale
        return GradientWork(
            d_query=self._d_query.reshape(d.batch, d.heads, d.queries, d.head_size),
            d_key=self._d_key,
            d_value=self._d_value,
            d_mask=None if self._d_mask is None or mask is None else self._d_mask.reshape(mask.shape),
            d_sinks=None if self._scoring.sinks is None else self._of_sinks(),
        )

    @np.errstate(all="ignore")
    def _before_any_tile(self) -> None:
        """What each row (B, Hkv, G, L) needs: its log-sum-exp, and the sum over its weights of weight · dweight."""
        self._log_totals = self._forward.log_totals()
        self._mean = np.einsum("...d,...d->...", self._d_output, self._forward.output)

    def _tasks(self) -> Iterator[Task]:
        d = self._dimensions
        for row in range(d.batch):
            for head in range(0, d.kv_heads, self._plan.kv_heads):
                heads = slice(head, min(head + self._plan.kv_heads, d.kv_heads))
                yield partial(self._of_heads, row, heads)
        if self._d_mask is None:
            return
        if self._d_mask.shape[2] == 1:  # every block adds to the same row
            yield partial(self._of_mask, slice(0, d.queries))
            return
        for first in range(0, d.queries, self._plan.queries):
            yield partial(self._of_mask, slice(first, min(first + self._plan.queries, d.queries)))

    @np.errstate(all="ignore")  # each thread has its own
    def _of_heads(self, row: int, heads: slice) -> None:
        """Everything but the mask's, for the key and value heads of a batch row."""
        d = self._dimensions
        d_key: Array = self._d_key[row, heads]
        d_value: Array = self._d_value[row, heads]
        for block in self._blocks(row, heads, slice(0, d.queries)):
            query, d_output, d_query = (
                array[block.at].reshape(heads.stop - heads.start, -1, array.shape[-1])
                for array in (self._query, self._d_output, self._d_query)
            )
            d_output = self._of_rows_that_see(block, d_output, d_value)
            scaled = self._forward.scores_of.scaled(block)
            for tile in self._forward.sight.tiles(block, self._plan.keys, self._forward.sight.every_key()):
                weights, d_masked, slope = self._tile(scaled, block, tile, d_output)
                width = (slice(None), slice(0, tile.width))
                d_value[:, tile.keys] += np.matmul(weights.swapaxes(-1, -2), d_output)[width]
                if slope is not None:  # which is NaN where what is hidden is
                    np.multiply(d_masked, slope, out=d_masked, where=d_masked != 0)
                d_query = d_query + np.matmul(d_masked, keys_of(self._key, block, tile))
                d_key[:, tile.keys] += np.matmul(d_masked.swapaxes(-1, -2), query)[width]
            self._d_query[block.at] = d_query.reshape(self._d_query[block.at].shape)

    @np.errstate(all="ignore")
    def _of_mask(self, queries: slice) -> None:
        """The mask's, for some queries of every head and batch row."""
        d = self._dimensions
        assert self._d_mask is not None  # noqa: S101 - asked only when there is one
        for row in range(d.batch):
            for head in range(d.kv_heads):
                heads = slice(head, head + 1)
                for block in self._blocks(row, heads, queries):
                    d_output = self._d_output[block.at].reshape(1, -1, d.value_size)
                    d_output = self._of_rows_that_see(block, d_output, None)
                    scaled = self._forward.scores_of.scaled(block)
                    for tile in self._forward.sight.tiles(block, self._plan.keys, self._forward.sight.every_key()):
                        d_masked = self._tile(scaled, block, tile, d_output)[1]
                        self._add_to_mask(per_group(d_masked, d.groups, tile), block, tile)

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

    def _of_rows_that_see(self, block: Block, d_output: Array, d_value: Array | None) -> Array:
        """The gradient of the output (n, R, Dv), 0 for rows that see nothing.

        Where such a row is the mean of the values (n, T, Dv) its gradient is shared by them.
        """
        n = d_output.shape[0]
        empty = self._forward.empty_rows(block).reshape(n, -1)
        if not empty.any():
            return d_output
        if d_value is not None and empty_row(self._visibility, self._scoring) is EmptyRow.MEAN_VALUE:
            valid = valid_keys(self._visibility, self._dimensions)
            keys = np.flatnonzero(valid[block.row if len(valid) > 1 else 0])
            if len(keys):
                d_value[:, keys] += (np.where(empty[..., None], d_output, 0).sum(axis=1) / len(keys))[:, None]
        return np.where(empty[..., None], 0, d_output)

    def _tile(self, scaled: Factors, block: Block, tile: Tile, d_output: Array) -> tuple[Array, Array, Array | None]:
        """Weights, gradient of the masked scores and, if there is a softcap, its slope: of a tile, all (n, R, W)."""
        self._cancellation.check()
        forward, groups = self._forward, self._dimensions.groups
        shape = (*d_output.shape[:2], padded(tile.width))
        slope = scratch("slope", shape, d_output.dtype) if self._scoring.softcap else None
        weights, low = forward.scores_of.masked(scaled, block, tile, slope)
        weights -= self._log_totals[block.at].reshape(*shape[:2], 1)
        if low is not None:
            weights += low
        forward.exponential.function(weights, out=weights)
        weights[..., tile.width :] = 0
        d_masked = scratch("d_masked", shape, d_output.dtype)
        np.matmul(d_output, keys_of(self._value, block, tile).swapaxes(-1, -2), out=d_masked)
        d_masked -= self._mean[block.at].reshape(*shape[:2], 1)
        d_masked *= weights
        if tile.visible is not None:
            np.copyto(per_group(d_masked, groups, tile), 0, where=~tile.visible)
            np.copyto(per_group(weights, groups, tile), 0, where=~tile.visible)
        return weights, d_masked, slope

    @np.errstate(all="ignore")
    def _of_sinks(self) -> Array:
        """−Σ weight of the sink · Σ weight · dweight, of every row of a query head."""
        exponential = self._forward.exponential
        shares = exponential.function(self._forward.sinks[:, :, None] - self._log_totals)  # (B, Hkv, G, L)
        total: Array = -(shares * self._mean).sum(axis=(0, 3))
        return total.ravel()
