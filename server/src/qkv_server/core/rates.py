"""How long the operations of the core take on this machine.

Products and other operations are measured alone. What the core does between them is the difference of calls that differ
in one thing: a tile costs what a call with more tiles takes longer.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from qkv_server.core import products, rotary
from qkv_server.core.attention import solve
from qkv_server.core.check import check
from qkv_server.core.gradients import solve_gradients
from qkv_server.core.precision import FLOAT32, FLOAT64, DType
from qkv_server.core.problem import Alignment, Path, Problem, RotaryPairing, Visibility
from qkv_server.core.threads import spread_over

SECONDS_EACH = 0.0002  # of one measurement, but at least two runs: the first finds no memory of its own
MORE = 2  # tasks or tiles by which two calls differ
KEYS, SIZE = 512, 64  # of a tile
ROWS = {FLOAT32: 128, FLOAT64: 16}  # of a tile, so many that their time is not lost in that of the call
FEW = 4  # rows of a product that takes as long as reading its matrix does
READ_BYTES = 3 * 2**22  # of that matrix, which are more than the caches of a core hold
SCORE_PRODUCTS = {FLOAT32: 1, FLOAT64: 3}  # of a product of queries and keys: float64 is cut in parts
GRADIENT_PRODUCTS = 4  # after the two of the forward pass
EVERYTHING, CAUSAL = Visibility(), Visibility(causal=True, alignment=Alignment.BOTTOM_RIGHT)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRates:
    """Seconds of a way over the tiles in one type; of the reference, over all pairs."""

    call: float
    task: float
    tile: float
    pair: float  # of a query row and a key, but for matrix products


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeRates:
    """Seconds of what is computed in one type."""

    forward: PassRates
    gradients: PassRates
    reference: PassRates
    reference_gradients: PassRates
    flop: float  # of matrix products
    cut: float  # a number of a key of a tile, in two parts; 0 in float32
    copied: float  # a number, to memory
    tanh: float
    bias: float  # a pair to whose score one is added
    turned: float  # a number, by rotary embedding


@dataclass(frozen=True, slots=True, kw_only=True)
class HidingRates:
    """Seconds of what is more where positions or lengths hide something."""

    call: float
    tile: float  # in which something is hidden
    pair: float  # in such a tile


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Seconds of everything that a prediction counts."""

    float32: TypeRates
    float64: TypeRates
    hiding: HidingRates
    read: float  # a byte of a key or a value in a product, beside its flops
    read_by_one_row: float  # and in the product of a single row
    mapped: float  # a key for which a task asks a block map
    handover: float  # of tasks to another thread
    judged: float  # a number of an operand, to know whether rows need a running maximum
    running: float  # a pair, if they do
    angle: float  # its cosine and sine
    converted: float  # a number, between a type of 16 bits and float32

    def of(self, dtype: DType) -> TypeRates:
        """The rates of a compute type."""
        return self.float64 if dtype == FLOAT64 else self.float32

    @classmethod
    def measure(cls) -> "Rates":
        """Measure this machine, in about 0.1 s; BLAS should have the one thread that it has when calls are computed."""
        angles, half = np.linspace(0, 1e3, 2**9), np.full(2**12, 0.5, np.float16)
        tiled, decode = (partial(_call, FLOAT32, path, keys=KEYS, size=SIZE) for path in (Path.TILED, Path.DECODE))
        judged = _more(_call(FLOAT32, Path.BATCHED, heads=8, keys=KEYS, size=SIZE), decode(heads=8)) / (8 * KEYS * SIZE)
        rows = ROWS[FLOAT32]
        running = _more(decode(queries=rows) + judged * KEYS * SIZE, tiled(queries=rows)) / (rows * KEYS)
        read, by_one_row = _reading()
        return cls(
            float32=_type_rates(FLOAT32, read),
            float64=_type_rates(FLOAT64, read),
            read=read,
            read_by_one_row=by_one_row,
            hiding=_hiding_rates(),
            mapped=_mapped(),
            handover=_handover(),
            judged=judged / 2,  # a key and a value
            running=running,
            angle=_seconds(lambda: (np.cos(angles), np.sin(angles))) / angles.size,
            converted=_seconds(lambda: half.astype(np.float32).astype(np.float16)) / half.size / 2,
        )


@cache
def measured() -> Rates:
    """The rates of this machine, measured when they are first asked for."""
    return Rates.measure()


def _hiding_rates() -> HidingRates:
    """Of float32: to look at ranges and booleans costs the same in any type."""

    def more(**sizes: Any) -> float:
        all_seen, some_hidden = (
            _call(FLOAT32, Path.TILED, visibility=visibility, **sizes) for visibility in (EVERYTHING, CAUSAL)
        )
        return _more(some_hidden, all_seen)

    one, many = more(queries=2, keys=2), more(queries=2, keys=2, heads=1 + MORE)
    tile = _more(many, one) / MORE
    pairs = ROWS[FLOAT32] * KEYS
    tall = more(queries=ROWS[FLOAT32], keys=KEYS, size=SIZE)
    return HidingRates(call=_more(one, tile), tile=tile, pair=_more(tall, one) / pairs)


def _type_rates(dtype: DType, read: float) -> TypeRates:
    rows = ROWS[dtype]
    query, key, tile = (np.full(shape, 0.01, dtype) for shape in ((256, SIZE), (KEYS, SIZE), (256, KEYS)))
    product = _seconds(lambda: np.matmul(np.matmul(query, key.T, out=tile), key))
    flop = product / (4 * tile.size * SIZE)
    one = products.factors(query[:1], 1.0)
    cut = _more(_seconds(lambda: products.scores(one, key)), _seconds(lambda: np.matmul(query[:1], key.T))) / key.size
    scores = products.Scores(tile[:rows], None if dtype == FLOAT32 else tile[:rows] * 2.0**-60)
    bias, heads = tile[:rows] * 2, np.full((1, 1, rows, SIZE), 0.5, dtype)
    table = heads[..., : SIZE // 2]

    def rates(path: Path, *, gradients: bool) -> PassRates:
        rows = ROWS[dtype] // 2 if path is Path.REFERENCE else ROWS[dtype]
        call = partial(_call, dtype, path, gradients=gradients)
        small, tall = call(), call(keys=KEYS, queries=rows, size=SIZE)
        matrices = SCORE_PRODUCTS[dtype] + 1 + GRADIENT_PRODUCTS * gradients
        of_products = matrices * (2 * rows * key.size * flop + key.nbytes * read) + key.size * cut
        pair = _more(tall, small + of_products) / (rows * KEYS)
        if path is Path.REFERENCE:
            return PassRates(call=small, task=0, tile=0, pair=pair)
        tile = _more(call(keys=KEYS * (1 + MORE)), small) / MORE
        task = _more(call(heads=1 + MORE), small) / MORE
        return PassRates(call=_more(small, task), task=_more(task, tile), tile=tile, pair=pair)

    return TypeRates(
        forward=rates(Path.TILED, gradients=False),
        gradients=rates(Path.TILED, gradients=True),
        reference=rates(Path.REFERENCE, gradients=False),
        reference_gradients=rates(Path.REFERENCE, gradients=True),
        flop=flop,
        cut=0 if dtype == FLOAT32 else cut,
        copied=_seconds(tile.copy) / tile.size,
        tanh=_seconds(lambda: np.tanh(bias)) / bias.size,
        bias=_seconds(lambda: products.add(scores, bias)) / bias.size,
        turned=_seconds(lambda: rotary.turned(heads, table, table, RotaryPairing.HALF_SPLIT)) / heads.size,
    )


def _mapped() -> float:
    def call(blocks: int) -> float:
        first = np.arange(blocks)[None] == 0
        visibility = Visibility(block_map=first, query_block_size=SIZE)
        return _call(FLOAT32, Path.TILED, keys=blocks * SIZE, visibility=visibility)

    few, many = KEYS // SIZE, 16 * KEYS // SIZE
    return _more(call(many), call(few)) / ((many - few) * SIZE)


def _handover() -> float:
    """What two tasks on two threads take longer than one."""
    matrix = np.full((KEYS // 2, KEYS // 2), 0.01, FLOAT32)

    def task() -> None:
        np.matmul(matrix, matrix)

    with ThreadPoolExecutor(1) as executor:
        spread = spread_over(executor, 1)
        return _more(_seconds(lambda: spread((task, task))), _seconds(task))


def _reading() -> tuple[float, float]:
    """Seconds that products of few rows and of one take for a byte of their matrix: half of keys, half of values."""
    tile = 4 * KEYS, 2 * SIZE
    matrix = np.full((READ_BYTES // FLOAT32.itemsize // tile[0] // tile[1], *tile), 0.01, FLOAT32)

    def of(rows: int) -> float:
        query, weights = matrix[:, :rows], np.full((len(matrix), rows, tile[0]), 0.01, FLOAT32)
        start = time.perf_counter()  # once: what was read before is not in the caches any more
        np.matmul(np.matmul(query, matrix.swapaxes(1, 2), out=weights), matrix)
        return (time.perf_counter() - start) / (2 * matrix.nbytes)

    return of(FEW), of(1)


def _call(
    dtype: DType,
    path: Path,
    *,
    gradients: bool = False,
    heads: int = 1,
    queries: int = 1,
    keys: int = 1,
    size: int = 1,
    visibility: Visibility = EVERYTHING,
) -> float:
    """Seconds of one call of the core."""
    query, key = (np.full((1, heads, length, size), 0.01, dtype) for length in (queries, keys))
    problem = Problem(query=query, key=key, path=path, visibility=visibility)
    dimensions = check(problem)
    if gradients:
        return _seconds(lambda: solve_gradients(problem, dimensions, query))
    return _seconds(lambda: solve(problem, dimensions))


def _more(seconds: float, less: float) -> float:
    return max(seconds - less, 0.0)


def _seconds(run: Callable[[], object]) -> float:
    """The least time of some runs, which others on the machine disturb the least."""
    times: list[float] = []
    while len(times) < 2 or sum(times) < SECONDS_EACH:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
