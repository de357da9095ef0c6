"""Chooses how a problem is computed: the blocked path, cut to its shape, or the reference where that has no rule.

What it decides from is what a row of the batch asks, but not how many keys there are: hidden ones must change no bit.
The size of the batch and the number of threads decide only how many heads a task takes, which changes no bit either.
"""

from qkv_server.core.blocked import Plan
from qkv_server.core.dimensions import Dimensions
from qkv_server.core.problem import Path, Problem, Quantity, SoftmaxAxis

FEW_ROWS = 16  # query rows of a key and value head up to which reading keys and values is what takes the time
SMALL_SCORES = 2**20  # bytes of scores of a tile up to which a task takes several heads
TINY_SCORES = 2**18  # bytes of scores of everything up to which a second thread costs more than it computes
TILE_KEYS = 512
TILE_ROWS = 256
DECODE_KEYS = 2048
DECODE_SPLIT = 8192


def plan(problem: Problem, dimensions: Dimensions, threads: int) -> Plan | None:
    """The plan of the blocked path that the problem asks for, or that is fastest; None for the reference."""
    path = problem.path
    if path is Path.REFERENCE or (path is None and reference_only(problem, dimensions)):
        return None
    d = dimensions
    if d.batch * d.kv_heads * _head_bytes(d) <= TINY_SCORES:
        threads = 1
    heads_each = max(1, min(d.kv_heads, -(-d.kv_heads * d.batch // threads)))
    if problem.visibility.block_map is not None:  # the tiles of a task are what the map leaves to any of its heads
        heads_each = 1
    match path or _fastest(d):
        case Path.DECODE:
            weights = problem.outputs & {Quantity.WEIGHTS, Quantity.AVERAGED_WEIGHTS}
            split = DECODE_SPLIT if d.all_keys > DECODE_SPLIT and not weights else 0
            return Plan(Path.DECODE, heads_each, max(d.queries, 1), DECODE_KEYS, split)
        case Path.BATCHED:
            tile_bytes = d.groups * d.queries * min(d.all_keys, TILE_KEYS) * d.compute.itemsize
            together = max(1, SMALL_SCORES // max(1, tile_bytes))
            return Plan(Path.BATCHED, min(together, heads_each), max(d.queries, 1), TILE_KEYS)
        case _:
            return Plan(Path.TILED, 1, max(1, TILE_ROWS // d.groups), TILE_KEYS)


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


def _head_bytes(d: Dimensions) -> int:
    """The bytes of the scores of a key and value head."""
    return d.groups * d.queries * d.all_keys * d.compute.itemsize
