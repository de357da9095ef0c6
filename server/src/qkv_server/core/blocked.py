"""Attention in blocks: the memory of a few tiles, the speed of matrix products, every core at work.

A task takes some query rows of some heads and goes over the keys tile by tile, keeping for each row the sum of the
exponentials and the weighted sum of the values ("Online normalizer calculation for softmax", Milakov and Gimelshein,
2018; "FlashAttention", Dao et al., 2022). Query heads that share a key and value head are rows of one matrix product.

What makes it fast in NumPy, where every elementwise operation is a pass over memory: sums of exponentials are matrix
products too, a running maximum is kept only for rows that need one (`safe_rows`), and elsewhere hidden pairs are
cleared once, after the exponential.

A row's answer is a function of what the row sees, to the last bit: whether a row keeps a maximum is decided by the keys
that it sees, tiles begin at fixed multiples, and products are cut in `pieces`, which are summed in the order of the
keys. It does not depend on the number of threads, on what else is in the batch, nor on keys that the row does not see.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from qkv_server.core import pieces, products
from qkv_server.core.dimensions import Dimensions
from qkv_server.core.empty_rows import empty_row, fill_empty_rows
from qkv_server.core.hiding import clear_hidden, hide
from qkv_server.core.positions import valid_keys
from qkv_server.core.problem import Array, EmptyRow, Path, Quantity, Scoring, Visibility
from qkv_server.core.running_maximum import RunningMaximum, finite_shift
from qkv_server.core.safe_rows import SafeRows
from qkv_server.core.scratch import scratch
from qkv_server.core.threads import Cancellation, Task
from qkv_server.core.tile_scores import TileScores, keys_of, per_group, tile_scratch
from qkv_server.core.tiles import Block, Sight, Tile
from qkv_server.core.work import Work

Kept = list[tuple[Tile, Array]]  # tiles, and an array (n, G·r, W) for each

HEADROOM = 40.0  # by which maxima are overstated where sums overflow


@dataclass(frozen=True, slots=True)
class Plan:
    """How a problem is cut: it decides the speed. The answers of different plans differ by rounding alone."""

    path: Path
    kv_heads: int  # of one task
    queries: int  # of one task
    keys: int  # of one tile
    split: int = 0  # keys of one task, whole tiles, the parts of a row being merged afterwards; 0: all


class Blocks:
    """One problem in blocks: run every one of `tasks`, in any order and on any threads, then take `work`.

    Query (B, Hq, L, D), key (B, Hkv, T, D) and value (B, Hkv, T, Dv) are in the compute type; T counts every key.
    """

    def __init__(
        self,
        query: Array,
        key: Array,
        value: Array,
        visibility: Visibility,
        scoring: Scoring,
        dimensions: Dimensions,
        outputs: frozenset[Quantity],
        plan: Plan,
        cancellation: Cancellation,
    ) -> None:
        self._cancellation = cancellation
        d = self._dimensions = dimensions
        rows = (d.batch, d.kv_heads, d.groups, d.queries)
        self._plan = plan
        self.sight = Sight(visibility, d)
        self._visibility, self._scale = visibility, scoring.scale
        self._empty_row = empty_row(visibility, scoring)
        self._query, self._key = query.reshape(*rows, d.head_size), key
        self.scores_of = TileScores(self._query, key, scoring, d, self.sight)
        self.sinks: Array | None = None  # (Hkv, G)
        if scoring.sinks is not None:
            self.sinks = scoring.sinks.astype(d.compute).reshape(d.kv_heads, d.groups)
        self._value = value
        self._safe_rows = None  # where reading keys and values takes longer than keeping maxima
        if plan.path is not Path.DECODE:
            self._safe_rows = SafeRows(self._query, key, value, self.sinks, self.scores_of, self.sight, plan.keys)
        self.every_row_safe = self._safe_rows is not None and self._safe_rows.all

        parts = self._parts = max(-(-d.all_keys // plan.split), 1) if plan.split else 1
        self._sums = np.empty((parts, *rows, d.value_size), d.compute)
        self._totals = np.empty((parts, *rows), d.compute)
        self._maxima = np.empty((parts, *rows), d.compute)
        pairs = (*rows, d.all_keys)

        def asked(*quantities: Quantity, shape: tuple[int, ...] = pairs, fill: float = 0.0) -> Array | None:
            return None if outputs.isdisjoint(quantities) else np.full(shape, fill, d.compute)

        self._log_sum_exp = asked(Quantity.LOG_SUM_EXP, shape=rows)
        self._weights = asked(Quantity.WEIGHTS, Quantity.AVERAGED_WEIGHTS)
        self._masked_scores = asked(Quantity.MASKED_SCORES, fill=-np.inf)
        self._scores = asked(Quantity.SCORES)
        self._capped_scores = asked(Quantity.CAPPED_SCORES)

    def tasks(self) -> Iterator[Task]:
        """The tasks, the longest first."""
        for block in self._blocks():
            for part in range(self._parts):
                yield partial(self.attend, block, part)

    def _blocks(self) -> Iterator[Block]:
        """The blocks, the last queries first: they see the most keys when attention is causal."""
        d, plan = self._dimensions, self._plan
        for first in reversed(range(0, d.queries, plan.queries)):
            for row in range(d.batch):
                for head in range(0, d.kv_heads, plan.kv_heads):
                    heads = slice(head, min(head + plan.kv_heads, d.kv_heads))
                    yield Block(row, heads, slice(first, min(first + plan.queries, d.queries)))

    def work(self) -> Work:
        """The answers, when every task has run."""
        d = self._dimensions
        if self._parts > 1:
            self._merge()
        if self._empty_row is not EmptyRow.ZERO:
            for block in self._blocks():
                self._fill_empty_rows(block)
        if self._log_sum_exp is not None:
            self._log_sum_exp[...] = np.log(self._totals[0]) + finite_shift(self._maxima[0])

        def joined(array: Array | None) -> Array | None:
            return None if array is None else array.reshape(d.batch, d.heads, *array.shape[3:])

        return Work(
            path=self._plan.path,
            output=self._sums[0].reshape(d.batch, d.heads, d.queries, d.value_size),
            scores=joined(self._scores),
            capped_scores=joined(self._capped_scores),
            masked_scores=joined(self._masked_scores),
            weights=joined(self._weights),
            log_sum_exp=joined(self._log_sum_exp),
        )

    def attend(self, block: Block, part: int = 0, kept: Kept | None = None) -> None:
        """Sum one part of the keys for the rows of a block; divide by the total if it is the only part.

        `kept` is filled with the exponentials of every tile, which are those of the maxima as they ended if there is no
        running maximum.
        """
        sums = self._sum(block, part, kept)
        if not _all_finite(sums.weighted):  # a value that is not finite, hidden or not, or sums of huge ones
            sums = self._sum(block, part, kept, self._finite_and_wild)
            overflowed = ~np.isfinite(sums.weighted).all(axis=-1)
            if overflowed.any():
                headroom = np.where(overflowed, HEADROOM, 0.0)
                sums = self._sum(block, part, kept, self._finite_and_wild, headroom)
        if sums.wild is not None:
            np.add(sums.weighted, sums.wild, out=sums.weighted)
        at = (part, *block.at)
        into = self._sums[at]
        total, weighted = sums.total.reshape(into.shape[:-1]), sums.weighted.reshape(into.shape)
        self._totals[at] = total
        self._maxima[at] = 0 if sums.maximum is None else sums.maximum.reshape(total.shape)
        if self._parts == 1:
            np.divide(weighted, _divisor(total)[..., None], out=into)
        else:
            into[...] = weighted
        if self._weights is not None:
            self._weigh(self._weights, block)
        if part == 0:
            self._score_every_pair(block)

    def _sum(
        self,
        block: Block,
        part: int,
        kept: Kept | None,
        finite_and_wild: tuple[Array, Array] | None = None,
        headroom: Array | None = None,
    ) -> "_Sums":
        """What `attend` keeps of a part of the keys; values that are not finite are apart, where that matters.

        `headroom` (n, R) is as `RunningMaximum` has it.
        """
        d = self._dimensions
        value, wild = finite_and_wild or (self._value, None)
        scaled = self.scores_of.scaled(block)
        n, rows, _ = scaled.high.shape
        per_row = (n, d.groups, rows // d.groups)
        running, total = self._before_any_key(block, part, per_row, headroom)
        weighted = scratch("weighted", (n, rows, d.value_size), d.compute)
        weighted[...] = 0
        wild_sum = weighted if wild is None else np.zeros_like(weighted)
        sums = (weighted,) if wild is None else (weighted, wild_sum)
        if kept is not None:
            kept.clear()
        for place, tile in enumerate(self.sight.tiles(block, self._plan.keys, self._keys_of(part))):
            self._cancellation.check()
            out = tile_scratch("scores" if kept is None else f"scores {place}", scaled, tile)
            _, low = self.scores_of.biased(scaled, block, tile, out)
            scores, pairs = out[..., : tile.width], per_group(out, d.groups, tile)
            if running is not None or self._masked_scores is not None:
                hide(pairs, tile.visible)
            if self._masked_scores is not None:
                rounded = products.Scores(out, low).rounded()
                self._masked_scores[block.at][..., tile.keys] = per_group(rounded, d.groups, tile)
            if running is not None:
                running.shift(scores, total, *sums)
            if low is not None:
                scores += low[..., : tile.width]
            np.exp(scores, out=scores)
            clear_hidden(pairs, tile.visible)
            if tile.width < out.shape[-1]:
                out[..., tile.width :] = 0
            pieces.add_totals(total, out, tile.cut)
            pieces.add_sums(weighted, out, keys_of(value, block, tile), tile.cut)
            if wild is not None:
                part_of_wild = wild[block.row, block.kv_heads][:, tile.keys]
                _add_wild(wild_sum.reshape(*per_row, -1), pairs, part_of_wild, tile)
            if kept is not None:
                kept.append((tile, out))
        return _Sums(total, None if running is None else running.maximum, weighted, None if wild is None else wild_sum)

    @cached_property
    def _finite_and_wild(self) -> tuple[Array, Array]:
        """The values with 0 for those that are not finite, and these alone."""
        finite, zero = np.isfinite(self._value), self._value.dtype.type(0)
        return np.where(finite, self._value, zero), np.where(finite, zero, self._value)

    def _before_any_key(
        self, block: Block, part: int, per_row: tuple[int, int, int], headroom: Array | None
    ) -> tuple[RunningMaximum | None, Array]:
        """The running maximum, if some row of a block needs one, and the total (n, R) of each row: that of its sink."""
        rows = (per_row[0], per_row[1] * per_row[2])
        total = np.zeros(rows, self._dimensions.compute)
        if self.every_row_safe and self.sinks is None:
            return None, total
        sinks = total - np.inf
        if self.sinks is not None and part == 0:
            own = np.where(self.sight.valid(block), self.sinks[block.kv_heads, :, None], sinks.dtype.type(-np.inf))
            sinks = np.broadcast_to(own, per_row).reshape(rows)
        running = None
        if not self.every_row_safe:
            safe = None if self._safe_rows is None else self._safe_rows.of(block).reshape(rows)
            running = RunningMaximum(safe, sinks, headroom, begun=self.sinks is not None)
        if self.sinks is None:
            return running, total
        shift = 0 if running is None else finite_shift(running.maximum).astype(sinks.dtype)
        return running, np.exp(sinks - shift)

    @property
    def output(self) -> Array:
        """The output (B, Hkv, G, L, Dv), when every task has run and no row is split."""
        output: Array = self._sums[0]
        return output

    def rows(self, block: Block) -> tuple[Array, Array]:
        """The maxima of the rows (n, G·r, 1) of a block, and what its exponentials are to be multiplied with."""
        n = block.kv_heads.stop - block.kv_heads.start
        total = self._totals[0][block.at].reshape(n, -1, 1)
        maximum = finite_shift(self._maxima[0][block.at].reshape(n, -1, 1))
        return maximum, np.where(total == 0, 0, 1 / total)

    def sink_weights(self) -> Array:
        """How much of each row (B, Hkv, G, L) its sink takes, when every task has run."""
        assert self.sinks is not None  # noqa: S101 - asked only when there are some
        exponentials = np.exp(self.sinks[:, :, None] - finite_shift(self._maxima[0]))
        weights: Array = exponentials / np.where(self._totals[0] == 0, np.inf, self._totals[0])
        return weights

    def _fill_empty_rows(self, block: Block) -> None:
        """Answer the rows of a block that see nothing as the policy says."""
        keys = valid_keys(self._visibility, self._dimensions)
        fill_empty_rows(
            self._empty_row,
            self.sight.empty(block, self._plan.keys, self._totals[0][block.at].shape),
            keys[block.row if len(keys) > 1 else 0],
            self._value[block.row, block.kv_heads],
            self._sums[0][block.at],
            None if self._weights is None else self._weights[block.at],
        )

    def _keys_of(self, part: int) -> slice:
        split = self._plan.split
        return slice(part * split, (part + 1) * split) if split else slice(0, self._dimensions.all_keys)

    def _weigh(self, weights: Array, block: Block) -> None:
        """Fill in the weights (B, Hkv, G, L, T) of a block whose maxima and totals are known."""
        maximum, total = finite_shift(self._maxima[0][block.at]), self._totals[0][block.at]
        maximum, total = maximum[..., None], _divisor(total)[..., None]
        scaled = self.scores_of.scaled(block)
        for tile in self.sight.tiles(block, self._plan.keys, self.sight.every_key()):
            self._cancellation.check()
            high, low = self.scores_of.biased(scaled, block, tile, tile_scratch("scores", scaled, tile))
            scores = per_group(high, self._dimensions.groups, tile)
            scores -= maximum
            if low is not None:
                scores += per_group(low, self._dimensions.groups, tile)
            normalised = np.exp(scores) / total
            clear_hidden(normalised, tile.visible)
            weights[block.at][..., tile.keys] = normalised

    def _score_every_pair(self, block: Block) -> None:
        """The scores of a block before the mask, of visible and hidden pairs alike, if they are asked for."""
        if self._scores is None and self._capped_scores is None:
            return
        keys, query = self._key[block.row, block.kv_heads], self._query[block.at]  # (n, T, D), (n, G, r, D)
        scaled = products.factors(query.reshape(len(query), -1, query.shape[-1]), self._scale)
        count = keys.shape[1]
        padded = products.scores(scaled, keys, pieces.cut(0, count)).rounded()
        scores = padded[..., :count].reshape(*query.shape[:-1], count)
        if self._scores is not None:
            self._scores[block.at] = scores
        if self._capped_scores is not None:
            cap = self.scores_of.softcap
            self._capped_scores[block.at] = cap * np.tanh(scores / cap) if cap else scores

    def _merge(self) -> None:
        """Merge the parts of every row into the first, in the order of the keys, and divide by the total."""
        top = self._maxima.max(axis=0)
        ratios = np.exp(self._maxima - finite_shift(top))
        total, summed = np.zeros_like(self._totals[0]), np.zeros_like(self._sums[0])
        for part in range(self._parts):
            total += ratios[part] * self._totals[part]
            summed += ratios[part][..., None] * self._sums[part]
        self._maxima[0], self._totals[0] = top, total
        np.divide(summed, _divisor(total)[..., None], out=self._sums[0])


class _Sums(NamedTuple):
    """What is known of rows (n, R) when their keys have been seen."""

    total: Array  # of the exponentials
    maximum: Array | None  # 0 if no row has one
    weighted: Array  # sum of the values (n, R, Dv), which lasts until the thread's next sums
    wild: Array | None  # sum of those that are not finite, if they are apart


def _all_finite(x: Array) -> bool:
    """Whether all numbers are finite, which the sum of their squares tells soonest where it does not overflow."""
    return math.isfinite(np.vdot(x, x)) or bool(np.isfinite(x).all())


def _divisor(total: Array) -> Array:
    """The totals, and 1 for rows that have none."""
    divisor: Array = total + (total == 0)
    return divisor


def _add_wild(weighted: Array, weights: Array, wild: Array, tile: Tile) -> None:
    """Add weight · value for values (n, w, Dv) that are not finite, to the rows that see them: 0 · NaN is NaN."""
    visible = np.broadcast_to(True if tile.visible is None else tile.visible, weights.shape)
    for key in np.flatnonzero((wild != 0).any(axis=(0, 2))):
        value = wild[:, None, None, key]  # (n, 1, 1, Dv)
        seen = visible[..., key, None] & (value != 0)
        np.add(weighted, weights[..., key, None] * value, out=weighted, where=seen)
