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

from qkv_server.core import pieces, products, rotary
from qkv_server.core.attention import solve
from qkv_server.core.check import check
from qkv_server.core.gradients import solve_gradients
from qkv_server.core.precision import FLOAT32, FLOAT64, DType
from qkv_server.core.problem import Alibi, Alignment, Path, Problem, RotaryPairing, Scoring, Visibility
from qkv_server.core.threads import spread_over

SECONDS_EACH = 0.0005  # of one measurement, but at least three runs: the first finds no memory of its own
MORE = 2  # tasks or tiles by which two calls differ
ROWS, KEYS, SIZE = 256, 512, 64  # of a tile
FEW = 4  # rows of a product that takes little longer than reading its matrix
READ_BYTES = 2**24  # of that matrix, and of another: together more than most caches hold
SCORE_PRODUCTS = {FLOAT32: 1, FLOAT64: 3}  # of a product of queries and keys: float64 is cut in parts
GRADIENT_PRODUCTS = 4  # after the two of the forward pass
EVERYTHING, CAUSAL = Visibility(), Visibility(causal=True, alignment=Alignment.BOTTOM_RIGHT)
PLAIN = Scoring()


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRates:
    """Seconds of a way over the tiles in one type; of the reference, over all pairs."""

    call: float
    task: float  # of which the first tile is cut in more pieces than others
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
    by_distance: float  # a pair, if they do because of biases by distance
    mask_gradient: float  # a pair, but for matrix products
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
        numbers = 8 * KEYS * SIZE * 2  # of keys and values
        judged = _more(_call(FLOAT32, Path.BATCHED, heads=8, keys=KEYS, size=SIZE), decode(heads=8)) / numbers
        running = _more(decode(queries=ROWS) + 2 * judged * KEYS * SIZE, tiled(queries=ROWS)) / (ROWS * KEYS)
        read, by_one_row = _reading(_flop(FLOAT32))
        return cls(
            float32=_type_rates(FLOAT32, read, judged),
            float64=_type_rates(FLOAT64, read, judged),
            read=read,
            read_by_one_row=by_one_row,
            hiding=_hiding_rates(),
            mapped=_mapped(),
            handover=_handover(),
            judged=judged,
            running=running,
            by_distance=_by_distance(),
            mask_gradient=_mask_gradient(),
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
    tall = more(queries=ROWS, keys=KEYS, size=SIZE)
    return HidingRates(call=_more(one, tile), tile=tile, pair=_more(tall, one) / (ROWS * KEYS))


def _type_rates(dtype: DType, read: float, judged: float) -> TypeRates:
    query, key, tile = (np.full(shape, 0.01, dtype) for shape in ((ROWS, SIZE), (KEYS, SIZE), (ROWS, KEYS)))
    flop = _flop(dtype)
    one = products.factors(query[:1], 1.0)
    cut = _more(_seconds(lambda: products.scores(one, key)), _seconds(lambda: np.matmul(query[:1], key.T))) / key.size
    scores = products.Scores(tile, None if dtype == FLOAT32 else tile * 2.0**-60)
    bias, heads = tile * 2, np.full((1, 1, ROWS, SIZE), 0.5, dtype)
    table = heads[..., : SIZE // 2]

    def rates(path: Path, *, gradients: bool) -> PassRates:
        call = partial(_call, dtype, path, gradients=gradients)
        matrices = SCORE_PRODUCTS[dtype] + 1 + GRADIENT_PRODUCTS * gradients
        rest_of_pair = 2 * matrices * SIZE * flop
        if path is Path.REFERENCE:
            small, tall = call(), call(keys=KEYS, queries=ROWS // 2, size=SIZE)
            pair = _more(tall, small) / (ROWS // 2 * KEYS)
            return PassRates(call=small, task=0, tile=0, pair=_more(pair, rest_of_pair))
        tiles = 1 + MORE
        of_key = SIZE * (matrices * dtype.itemsize * read + 2 * judged + (dtype == FLOAT64) * cut)
        small, long, tall = call(keys=KEYS), call(keys=tiles * KEYS), call(keys=tiles * KEYS, queries=ROWS, size=SIZE)
        pair = (_more(tall, long) / (tiles * KEYS) - of_key) / ROWS
        tile = _more(long, small) / MORE
        task = _more(call(heads=1 + MORE, keys=KEYS), small) / MORE
        return PassRates(call=_more(small, task), task=_more(task, tile), tile=tile, pair=_more(pair, rest_of_pair))

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


def _flop(dtype: DType) -> float:
    query, key, tile = (np.full(shape, 0.01, dtype) for shape in ((ROWS, SIZE), (KEYS, SIZE), (ROWS, KEYS)))
    return _seconds(lambda: np.matmul(np.matmul(query, key.T, out=tile), key)) / (4 * tile.size * SIZE)


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


def _by_distance() -> float:
    call = partial(_call, FLOAT32, Path.TILED, queries=ROWS, keys=KEYS, visibility=CAUSAL)
    return _more(call(scoring=Scoring(alibi=Alibi())), call()) / (ROWS * KEYS)


def _mask_gradient() -> float:
    call = partial(_call, FLOAT32, Path.TILED, gradients=True, queries=ROWS, keys=KEYS)
    mask = np.zeros((ROWS, KEYS), FLOAT32)
    return _more(call(visibility=Visibility(mask=mask)), call()) / mask.size


def _reading(flop: float) -> tuple[float, float]:
    """Seconds that products of few rows and of one take for a byte of keys and values, beside their flops."""
    key, value = np.full((2, READ_BYTES // FLOAT32.itemsize // KEYS // SIZE, KEYS, SIZE), 0.01, FLOAT32)
    whole = pieces.cut(KEYS, 2 * KEYS)

    def of(rows: int) -> float:
        query, weights = key[:, :rows].copy(), np.zeros((len(key), rows, KEYS), FLOAT32)
        sums = np.zeros_like(query)
        run = partial(pieces.scores, query, key, whole, weights)
        seconds = _seconds(lambda: pieces.add_sums(sums, run(), value, whole))
        return _more(seconds, 4 * rows * key.size * flop) / (2 * key.nbytes)

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
    scoring: Scoring = PLAIN,
) -> float:
    """Seconds of one call of the core."""
    query, key = (np.full((1, heads, length, size), 0.01, dtype) for length in (queries, keys))
    problem = Problem(query=query, key=key, path=path, visibility=visibility, scoring=scoring)
    dimensions = check(problem)
    if gradients:
        return _seconds(lambda: solve_gradients(problem, dimensions, query))
    return _seconds(lambda: solve(problem, dimensions))


def _more(seconds: float, less: float) -> float:
    return max(seconds - less, 0.0)


def _seconds(run: Callable[[], object]) -> float:
    """The least time of some runs, which others on the machine disturb the least."""
    times: list[float] = []
    while len(times) < 3 or sum(times) < SECONDS_EACH:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
