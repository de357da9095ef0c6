"""Chooses how a problem is computed: the blocked path, cut to its shape, or the reference where that has no rule.

What it decides from is what a row of the batch asks, but not how many keys there are: hidden ones must change no bit.
The size of the batch and the number of threads decide only how many heads a task takes, which changes no bit either.
"""

from dataclasses import replace

from qkv_server.core.blocked import Plan
from qkv_server.core.dimensions import Dimensions
from qkv_server.core.precision import FLOAT32, FLOAT64
from qkv_server.core.problem import Path, Problem, Quantity, SoftmaxAxis

FEW_ROWS = 16  # query rows of a key and value head up to which reading keys and values is what takes the time
SMALL_SCORES = 2**20  # bytes of scores of a tile up to which a task takes several heads
TINY = {FLOAT32: 600_000, FLOAT64: 120_000}  # bytes of scores that one thread computes as fast as two: about 1 ms
READ_PER_SCORE = 8  # bytes of keys and values that are read while a byte of scores is computed
TILE_KEYS = 512  # this, and those of decoding, are multiples of every piece of keys
SMALLEST_BLOCK = 64  # rows of a block of a block map that are worth tiles of their own
TILE_ROWS = 256
DECODE_KEYS = 2048
DECODE_SPLIT = 8192
WHOLE_ROWS = (Quantity.WEIGHTS, Quantity.AVERAGED_WEIGHTS)  # need the total of a row: its keys are not split


def plan(problem: Problem, dimensions: Dimensions, threads: int) -> Plan | None:
    """The plan of the blocked path that the problem asks for, or that is fastest; None for the reference."""
    if takes_reference(problem, dimensions):
        return None
    d, path = dimensions, problem.path
    threads = 1 if is_tiny(d) else threads
    heads_each = max(1, min(d.kv_heads, -(-d.kv_heads * d.batch // threads)))
    if problem.visibility.block_map is not None:  # the tiles of a task are what the map leaves to any of its heads
        heads_each = 1
    match path or _fastest(d):
        case Path.DECODE:
            split = DECODE_SPLIT if d.all_keys > DECODE_SPLIT and problem.outputs.isdisjoint(WHOLE_ROWS) else 0
            tile_bytes = d.groups * d.queries * DECODE_KEYS * d.compute.itemsize
            together = max(1, SMALL_SCORES // max(1, tile_bytes))
            return Plan(Path.DECODE, min(together, heads_each), max(d.queries, 1), DECODE_KEYS, split)
        case Path.BATCHED:
            tile_bytes = d.groups * d.queries * min(d.all_keys, TILE_KEYS) * d.compute.itemsize
            together = max(1, SMALL_SCORES // max(1, tile_bytes))
            return Plan(Path.BATCHED, min(together, heads_each), max(d.queries, 1), TILE_KEYS)
        case _:
            return Plan(Path.TILED, 1, _rows_of_a_tile(problem, d), TILE_KEYS)


def _rows_of_a_tile(problem: Problem, d: Dimensions) -> int:
    """Queries of a tile: those of one block of a block map, unless it is small, so that nothing in a tile is hidden."""
    most = max(1, TILE_ROWS // d.groups)
    of_a_block = problem.visibility.query_block_size
    return of_a_block if of_a_block * d.groups >= SMALLEST_BLOCK and of_a_block <= most else most


def takes_reference(problem: Problem, dimensions: Dimensions) -> bool:
    """Whether the reference answers, because it was asked for or because nothing else can."""
    return problem.path is Path.REFERENCE or (problem.path is None and bool(reference_only(problem, dimensions)))


def is_tiny(dimensions: Dimensions) -> bool:
    """Whether a second thread would cost more than it computes."""
    d = dimensions
    of_a_key = d.groups * d.queries + (d.head_size + d.value_size) / READ_PER_SCORE
    return d.batch * d.kv_heads * d.all_keys * of_a_key * d.compute.itemsize <= TINY[d.compute]


def in_one_row(problem: Problem, dimensions: Dimensions) -> Dimensions:
    """The dimensions with the heads of all batch rows as those of one, if nothing tells them apart: fewer tasks."""
    visibility, scoring, batch = problem.visibility, problem.scoring, dimensions.batch
    if batch < 2 or len(visibility.key_lengths) or len(visibility.query_lengths):
        return dimensions
    apart = (visibility.mask, visibility.block_map, scoring.sinks, scoring.alibi, scoring.relative_bias)
    if any(option is not None for option in apart):
        return dimensions
    return replace(dimensions, batch=1, heads=batch * dimensions.heads, kv_heads=batch * dimensions.kv_heads)


def reference_only(problem: Problem, dimensions: Dimensions) -> str:
    """Why only the reference can answer; empty if the blocked path can."""
    if problem.scoring.softmax_axis is SoftmaxAxis.QUERIES:
        return "a softmax over queries needs every query before it knows its first weight"
    if dimensions.softmax != dimensions.compute:
        return "a softmax in another type than the products rounds scores that tiles do not keep"
    return ""


def _fastest(d: Dimensions) -> Path:
    rows = d.groups * d.queries
    if rows <= FEW_ROWS:
        return Path.DECODE
    return Path.BATCHED if rows <= TILE_ROWS else Path.TILED
