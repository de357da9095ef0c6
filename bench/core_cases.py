"""What `bench/core.py` compares: dense, grouped, structured and decode shapes, and gradients; float32 everywhere."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from qkv_server import core

Array = npt.NDArray[Any]
Run = Callable[[], tuple[Array, ...]]

DENSE = (  # B, H, L, D
    (1, 8, 64, 64),
    (1, 8, 128, 64),
    (1, 8, 256, 64),
    (1, 8, 512, 64),
    (8, 12, 128, 64),
    (1, 12, 1024, 64),
    (1, 8, 2048, 64),
    (1, 8, 4096, 128),
    (1, 2, 8192, 64),
)
GROUPED = ((1, 8, 2, 1024, 64), (1, 32, 8, 512, 128))  # B, Hq, Hkv, L, D
LONG = (1, 2, 8192, 64)
WINDOW = 256
SEGMENTS = 16
BLOCK, BLOCK_DENSITY = 128, 0.1
SHARED_BY, PREFIX, SUFFIX = 16, 8192, 256  # requests of one query, 8 heads of 64
DECODE_KEYS = (1024, 4096, 16384, 65536)  # one query of 32 heads over 8 key and value heads of 128
GRADIENTS = ((1, 8, 512, 64), (1, 12, 1024, 64), (1, 8, 2048, 64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the table: a call, and what the peer needs to see the same."""

    kind: str
    name: str
    query: Array
    key: Array
    value: Array
    visibility: core.Visibility = field(default_factory=core.Visibility)
    mask: Array | None = None  # for the peer
    d_output: Array | None = None  # the gradients are asked for
    prefix: int = 0  # keys that the batch rows share; 0: none

    @property
    def flops(self) -> int:
        """Floating-point operations of the two products over every pair."""
        return int(4 * self.query.size * self.key.shape[2])

    def ours(self, spread: core.Spread, threads: int) -> Run:
        """The call as the core takes it."""
        if self.prefix:
            return lambda: self._cascade(spread, threads)
        problem = core.Problem(query=self.query, key=self.key, value=self.value, visibility=self.visibility)
        d_output = self.d_output
        if d_output is None:
            return lambda: (core.solve(problem, core.check(problem), spread, threads).output,)

        def gradients() -> tuple[Array, ...]:
            found = core.solve_gradients(problem, core.check(problem), d_output, spread, threads)
            return tuple(array for array in (found.d_query, found.d_key, found.d_value) if array is not None)

        return gradients

    def path(self, threads: int) -> str:
        """The path that the core takes."""
        problem = core.Problem(query=self.query, key=self.key, value=self.value, visibility=self.visibility)
        return core.solve(problem, core.check(problem), threads=threads).path.value

    def predicted(self, threads: int, rates: core.Rates) -> float:
        """The seconds that the cost model gives the call; of a shared prefix, to its two parts."""
        problem = core.Problem(query=self.query, key=self.key, value=self.value, visibility=self.visibility)
        predict = core.predict if self.d_output is None else core.predict_gradients
        parts = self._parts() if self.prefix else (problem,)
        return sum(predict(part, core.check(part), threads, rates) for part in parts)

    def _parts(self) -> Iterator[core.Problem]:
        """All queries over the shared keys as rows of one, and each over its own."""
        batch, heads, queries, size = self.query.shape
        rows = self.query.swapaxes(0, 1).reshape(1, heads, batch * queries, size)
        for query, keys in ((rows, np.s_[:1, :, : self.prefix]), (self.query, np.s_[:, :, self.prefix :])):
            asked = frozenset({core.Quantity.LOG_SUM_EXP})
            yield core.Problem(query=query, key=self.key[keys], value=self.value[keys], outputs=asked)

    def _cascade(self, spread: core.Spread, threads: int) -> tuple[Array, ...]:
        """Both parts, merged."""
        batch, heads, queries, _ = self.query.shape
        parts = []
        for problem in self._parts():
            answer = core.solve(problem, core.check(problem), spread, threads)
            parts.append(core.PartialResult(output=answer.output, log_sum_exp=np.asarray(answer.log_sum_exp)))
        shared = core.PartialResult(
            output=parts[0].output.reshape(heads, batch, queries, -1).swapaxes(0, 1),
            log_sum_exp=parts[0].log_sum_exp.reshape(heads, batch, queries).swapaxes(0, 1),
        )
        return (core.merge([shared, parts[1]]).output,)


def cases() -> Iterator[Case]:
    """Every case, each made when it is asked for."""
    generator = np.random.default_rng(0)

    def operands(query: tuple[int, ...], kv: tuple[int, ...]) -> dict[str, Any]:
        shapes = {"query": query, "key": kv, "value": kv}
        return {name: generator.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}

    causal = core.Visibility(causal=True)
    for shape in DENSE:
        yield Case(kind="dense", name=f"{shape}", **operands(shape, shape))
        yield Case(kind="dense", name=f"{shape} causal", visibility=causal, **operands(shape, shape))
    for batch, heads, kv_heads, length, size in GROUPED:
        query, kv = (batch, heads, length, size), (batch, kv_heads, length, size)
        yield Case(kind="dense", name=f"{query} over {kv_heads}", **operands(query, kv))
    yield from _structured(operands, generator)
    for keys in DECODE_KEYS:
        both = operands((1, 32, 1, 128), (1, 8, keys, 128))
        yield Case(kind="decode", name=f"1 query, {keys} keys, 32 over 8 heads", **both)
    for shape in GRADIENTS:
        d_output = generator.standard_normal(shape, dtype=np.float32)
        yield Case(kind="gradients", name=f"{shape}", d_output=d_output, **operands(shape, shape))
        yield Case(
            kind="gradients", name=f"{shape} causal", visibility=causal, d_output=d_output, **operands(shape, shape)
        )


def _structured(operands: Callable[..., dict[str, Any]], generator: np.random.Generator) -> Iterator[Case]:
    length = LONG[2]
    everything = np.ones((length, length), bool)
    yield Case(
        kind="structured",
        name=f"window {WINDOW}",
        visibility=core.Visibility(causal=True, window_left=WINDOW),
        mask=np.tril(everything) & ~np.tril(everything, -WINDOW - 1),
        **operands(LONG, LONG),
    )
    segment = np.arange(length) // (length // SEGMENTS)
    yield Case(
        kind="structured",
        name=f"{SEGMENTS} segments",
        visibility=core.Visibility(cumulative_query_lengths=range(0, length + 1, length // SEGMENTS)),
        mask=segment[:, None] == segment,
        **operands(LONG, LONG),
    )
    blocks = length // BLOCK
    block_map = generator.random((blocks, blocks)) < BLOCK_DENSITY
    np.fill_diagonal(block_map, val=True)  # so that every query sees something
    yield Case(
        kind="structured",
        name=f"{1 - BLOCK_DENSITY:.0%} sparse",
        visibility=core.Visibility(block_map=block_map, query_block_size=BLOCK),
        mask=block_map.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1),
        **operands(LONG, LONG),
    )
    keys = operands((SHARED_BY, 8, 1, 64), (SHARED_BY, 8, PREFIX + SUFFIX, 64))
    for name in ("key", "value"):
        keys[name][:, :, :PREFIX] = keys[name][:1, :, :PREFIX]
    yield Case(kind="structured", name=f"prefix shared by {SHARED_BY}", prefix=PREFIX, **keys)
