"""Attention in blocks: the memory of a few tiles, the speed of matrix products, every core at work.

A task takes some query rows of some heads and goes over the keys tile by tile, keeping for each row the sum of the
exponentials and the weighted sum of the values ("Online normalizer calculation for softmax", Milakov and Gimelshein,
2018; "FlashAttention", Dao et al., 2022). Query heads that share a key and value head are rows of one matrix product.

What makes it fast in NumPy, where every elementwise operation is a pass over memory: scores leave the matrix product
in units of the exponential's base, sums of exponentials are matrix products too, and a running maximum is kept only
for rows that need one. By Cauchy-Schwarz no score of a row exceeds scale·‖q‖·max‖k‖; where that is small, no
exponential can overflow, and not all of them can vanish.

A row's answer is a function of what the row sees, to the last bit: whether a row keeps a maximum is decided by the keys
that it sees, tiles begin at fixed multiples, and sums run in the order of the keys. It does not depend on the number of
threads, on what else is in the batch, nor on keys that the row does not see.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from qkv_server.core.dimensions import Dimensions
from qkv_server.core.empty_rows import fill_empty_rows
from qkv_server.core.exponential import fastest
from qkv_server.core.precision import FLOAT32, FLOAT64
from qkv_server.core.problem import Array, EmptyRow, Path, Quantity, Scoring, Visibility
from qkv_server.core.running_maximum import RunningMaximum
from qkv_server.core.scratch import scratch
from qkv_server.core.threads import Cancellation, Task
from qkv_server.core.tiles import Block, Sight, Tile
from qkv_server.core.visibility import BoolArray, valid_keys
from qkv_server.core.work import Work

LANES = 32  # tiles are computed in multiples of this many keys, so that keys hidden at the end change no order of sums
SAFE = {FLOAT32: 60.0, FLOAT64: 600.0}  # natural units: 2^20·e^60 is a float32 and e^−60 a normal one


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
        self._sight = Sight(visibility, d)
        self._exponential = fastest(d.compute)
        self._scale = d.compute.type(scoring.scale if scoring.scale is not None else 1 / np.sqrt(d.head_size))
        self._visibility = visibility
        self._softcap = d.compute.type(scoring.softcap)
        self._query, self._key = query.reshape(*rows, d.head_size), key
        finite = np.isfinite(value)
        self._value = value if finite.all() else np.where(finite, value, d.compute.type(0))
        self._given_value = value
        self._wild = None if finite.all() else np.where(finite, d.compute.type(0), value)  # NaN and infinities alone
        self._key_norms = _norms(key)  # (B, Hkv, T)
        self._every_row_safe = bool(
            self._are_safe(
                _norms(self._query).max(axis=(2, 3), initial=0), self._key_norms.max(axis=2, initial=0)
            ).all()
        )
        self._ones = np.ones(_padded(plan.keys), d.compute)

        if Quantity.AVERAGED_WEIGHTS in outputs:
            outputs |= {Quantity.WEIGHTS}

        def asked(quantity: Quantity, *shape: int, fill: float = 0.0) -> Array | None:
            return np.full((*rows, *shape), fill, d.compute) if quantity in outputs else None

        parts = self._parts = -(-d.all_keys // plan.split) if plan.split else 1
        self._sums = np.empty((parts, *rows, d.value_size), d.compute)
        self._totals = np.empty((parts, *rows), d.compute)
        self._maxima = np.empty((parts, *rows), d.compute)
        self._log_sum_exp = asked(Quantity.LOG_SUM_EXP)
        self._weights = asked(Quantity.WEIGHTS, d.all_keys)
        self._masked_scores = asked(Quantity.MASKED_SCORES, d.all_keys, fill=-np.inf)
        self._scores = asked(Quantity.SCORES, d.all_keys)
        self._capped_scores = asked(Quantity.CAPPED_SCORES, d.all_keys)

    def tasks(self) -> Iterator[Task]:
        """The tasks, the longest first."""
        for block in self._blocks():
            for part in range(self._parts):
                yield partial(self._attend, block, part)

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
        if self._visibility.empty_row is not EmptyRow.ZERO:
            for block in self._blocks():
                self._fill_empty_rows(block)
        if self._log_sum_exp is not None:
            maximum = np.where(np.isneginf(self._maxima[0]), 0, self._maxima[0])
            self._log_sum_exp[...] = np.log(self._totals[0]) + self._exponential.natural(maximum)

        def joined(array: Array | None) -> Array | None:
            return None if array is None else array.reshape(d.batch, d.heads, *array.shape[3:])

        return Work(
            output=self._sums[0].reshape(d.batch, d.heads, d.queries, d.value_size),
            scores=joined(self._scores),
            capped_scores=joined(self._capped_scores),
            masked_scores=joined(self._masked_scores),
            weights=joined(self._weights),
            log_sum_exp=joined(self._log_sum_exp),
        )

    @np.errstate(all="ignore")  # each thread has its own
    def _attend(self, block: Block, part: int) -> None:
        """Sum one part of the keys for the rows of a block; divide by the total if it is the only part."""
        d, plan, exponential = self._dimensions, self._plan, self._exponential
        query = self._query[block.at]  # (n, G, r, D)
        n, groups, queries, _ = query.shape
        rows = (n, groups * queries)
        factor = self._scale / self._softcap if self._softcap else self._scale * d.compute.type(exponential.units)
        scaled = np.multiply(query, factor, out=scratch("query", query.shape, d.compute)).reshape(*rows, d.head_size)
        running = None if self._every_row_safe else RunningMaximum(self._safe_rows(block).reshape(rows), exponential)
        total, tile_total = np.zeros(rows, d.compute), scratch("total", rows, d.compute)
        summed = np.zeros((*rows, d.value_size), d.compute)
        tile_sum = scratch("sum", summed.shape, d.compute)
        for tile in self._sight.tiles(block, plan.keys, self._keys_of(part)):
            self._cancellation.check()
            padded = scratch("scores", (*rows, _padded(tile.width)), d.compute)
            np.matmul(scaled, self._part_of(self._key, block, tile).swapaxes(-1, -2), out=padded)
            scores = padded[..., : tile.width]
            per_head = _with_groups(scores, groups)
            self._cap_and_mask(per_head, block, tile)
            self._keep(per_head, block, tile)
            if running is not None:
                running.shift(scores, total, summed)
            exponential.function(scores, out=scores)
            padded[..., tile.width :] = 0
            total += np.matmul(padded, self._ones[: padded.shape[-1]], out=tile_total)
            summed += np.matmul(padded, self._part_of(self._value, block, tile), out=tile_sum)
            if self._wild is not None:
                self._add_wild(summed.reshape(n, groups, queries, -1), per_head, block, tile)
        self._totals[part][block.at] = total.reshape(n, groups, queries)
        self._maxima[part][block.at] = 0 if running is None else running.maximum.reshape(n, groups, queries)
        if self._parts == 1:
            summed /= np.where(total == 0, 1, total)[..., None]
        self._sums[part][block.at] = summed.reshape(n, groups, queries, -1)
        if self._weights is not None:
            self._normalise_weights(self._weights, block)
        if part == 0:
            self._score_every_pair(block)

    def _fill_empty_rows(self, block: Block) -> None:
        """Answer the rows of a block that see nothing as the policy says."""
        empty = self._sight.valid(block) & np.ones(self._totals[0][block.at].shape, bool)  # (n, G, r)
        for tile in self._sight.tiles(block, self._plan.keys, slice(0, self._dimensions.all_keys)):
            empty &= False if tile.visible is None else ~tile.visible.any(axis=-1)
        keys = valid_keys(self._visibility, self._dimensions)
        fill_empty_rows(
            self._visibility.empty_row,
            empty,
            keys[block.row if len(keys) > 1 else 0],
            self._given_value[block.row, block.kv_heads],
            self._sums[0][block.at],
            None if self._weights is None else self._weights[block.at],
        )

    def _part_of(self, array: Array, block: Block, tile: Tile) -> Array:
        """The keys or values (n, w, D) of a tile, with zeros after them where its width is no multiple of LANES."""
        part = array[block.row, block.kv_heads, tile.keys]
        if tile.width % LANES == 0:
            return part
        filled = scratch("tile", (part.shape[0], _padded(tile.width), part.shape[2]), part.dtype)
        filled[:, : tile.width] = part
        filled[:, tile.width :] = 0
        return filled

    def _keys_of(self, part: int) -> slice:
        split = self._plan.split
        return slice(part * split, (part + 1) * split) if split else slice(0, self._dimensions.all_keys)

    def _cap_and_mask(self, scores: Array, block: Block, tile: Tile) -> None:
        """Scores (n, G, r, w) as the matrix product left them, capped and masked in place, in units of the base."""
        if self._softcap:
            np.tanh(scores, out=scores)
            scores *= self._softcap * scores.dtype.type(self._exponential.units)
        if self._sight.bias is not None:
            bias = self._sight.part(self._sight.bias, block, tile.keys)
            scores += bias * scores.dtype.type(self._exponential.units)
        if tile.visible is not None:
            np.copyto(scores, -np.inf, where=~tile.visible)

    def _keep(self, masked: Array, block: Block, tile: Tile) -> None:
        """Keep the masked scores (n, G, r, w) of a tile for the answer, if they or the weights are asked for."""
        at = (*block.at, tile.keys)
        if self._masked_scores is not None:
            self._masked_scores[at] = self._exponential.natural(masked)
        if self._weights is not None:
            self._weights[at] = masked  # until the total is known

    def _normalise_weights(self, weights: Array, block: Block) -> None:
        """Make weights of the masked scores that were kept for a block, in place."""
        maximum, total = self._maxima[0][block.at], self._totals[0][block.at]
        maximum = np.where(np.isneginf(maximum), 0, maximum).astype(weights.dtype)[..., None]
        total = np.where(total == 0, 1, total).astype(weights.dtype)[..., None]
        for tile in self._sight.tiles(block, self._plan.keys, slice(0, self._dimensions.all_keys)):
            at = (*block.at, tile.keys)
            normalised = self._exponential.function(weights[at] - maximum) / total
            if tile.visible is not None:
                np.copyto(normalised, 0, where=~tile.visible)
            weights[at] = normalised

    def _score_every_pair(self, block: Block) -> None:
        """The scores of a block before the mask, of visible and hidden pairs alike, if they are asked for."""
        if self._scores is None and self._capped_scores is None:
            return
        keys = self._key[block.row, block.kv_heads, None].swapaxes(-1, -2)  # (n, 1, D, T)
        scores = np.matmul(self._query[block.at] * self._scale, keys)
        if self._scores is not None:
            self._scores[block.at] = scores
        if self._capped_scores is not None:
            capped = self._softcap * np.tanh(scores / self._softcap) if self._softcap else scores
            self._capped_scores[block.at] = capped

    def _are_safe(self, query_norms: Array, key_norms: Array, bias: Array | float | None = None) -> BoolArray:
        """Whether scores of rows with these norms, over keys of these norms, need no running maximum."""
        bound = np.abs(self._scale) * query_norms * key_norms
        if self._softcap:
            bound = np.minimum(bound, self._softcap)
        if self._sight.bias is not None:
            bound = bound + (np.abs(self._sight.bias).max(initial=0) if bias is None else bias)
        safe: BoolArray = bound <= SAFE[self._dimensions.compute]
        return safe

    def _safe_rows(self, block: Block) -> BoolArray:
        """Which rows (n, G, r) of a block need no running maximum, each decided by the keys that it sees."""
        query_norms = _norms(self._query[block.at])
        key_norms, biases = np.zeros_like(query_norms), np.zeros_like(query_norms)
        for tile in self._sight.tiles(block, self._plan.keys, slice(0, self._dimensions.all_keys)):
            norms = self._key_norms[block.row, block.kv_heads, None, None, tile.keys]
            np.maximum(key_norms, _largest(norms, tile.visible), out=key_norms)
            if self._sight.bias is not None:
                bias = np.abs(self._sight.part(self._sight.bias, block, tile.keys))
                np.maximum(biases, _largest(bias, tile.visible), out=biases)
        return self._are_safe(query_norms, key_norms, biases)

    def _add_wild(self, summed: Array, weights: Array, block: Block, tile: Tile) -> None:
        """Add weight · value for values that are not finite, to the rows that see them: 0 · NaN is NaN."""
        wild = self._wild[block.row, block.kv_heads, tile.keys]  # type: ignore[index]  # asked only when there are some
        visible = np.broadcast_to(True if tile.visible is None else tile.visible, weights.shape)
        for key in np.flatnonzero((wild != 0).any(axis=(0, 2))):
            value = wild[:, None, None, key]  # (n, 1, 1, Dv)
            seen = visible[..., key, None] & (value != 0)
            np.add(summed, weights[..., key, None] * value, out=summed, where=seen)

    def _merge(self) -> None:
        """Merge the parts of every row into the first, in the order of the keys, and divide by the total."""
        top = self._maxima.max(axis=0)
        ratios = self._exponential.function(self._maxima - np.where(np.isneginf(top), 0, top))
        total, summed = np.zeros_like(self._totals[0]), np.zeros_like(self._sums[0])
        for part in range(self._parts):
            total += ratios[part] * self._totals[part]
            summed += ratios[part][..., None] * self._sums[part]
        self._maxima[0], self._totals[0] = top, total
        np.divide(summed, np.where(total == 0, 1, total)[..., None], out=self._sums[0])


def _norms(x: Array) -> Array:
    """The Euclidean norms of the last axis."""
    norms: Array = np.sqrt(np.einsum("...d,...d->...", x, x))
    return norms


def _largest(values: Array, visible: BoolArray | None) -> Array:
    """The largest of the values (…, w) that each row sees; NaN if it sees one."""
    largest: Array = (values if visible is None else np.where(visible, values, 0)).max(axis=-1)
    return largest


def _with_groups(scores: Array, groups: int) -> Array:
    """A view (n, G, r, w) of scores (n, G·r, w)."""
    view = scores.view()
    n, rows, width = scores.shape
    view.shape = (n, groups, rows // groups, width)
    return view


def _padded(width: int) -> int:
    return -(-width // LANES) * LANES
