"""How long a call will take, known from its shape and options before anything is computed.

What the chosen plan will do is counted (`counts`) and priced with the rates of the machine (`rates`). Numbers are not
looked at: a mask is taken to hide a part of every tile, values to be finite, and rows to keep a running maximum only
where they do so whatever the numbers are, in decoding and with biases by distance.
"""

from dataclasses import dataclass

from qkv_server.core import planner
from qkv_server.core.blocked import Plan
from qkv_server.core.blocked_gradients import KEPT_BYTES
from qkv_server.core.counts import Counts, counts
from qkv_server.core.dimensions import Dimensions
from qkv_server.core.precision import is_floating
from qkv_server.core.problem import PROJECTIONS, AxisOrder, Path, Problem, Quantity
from qkv_server.core.rates import GRADIENT_PRODUCTS, SCORE_PRODUCTS, PassRates, Rates, TypeRates
from qkv_server.core.visibility import is_limited

WEIGHTS = frozenset({Quantity.WEIGHTS, Quantity.AVERAGED_WEIGHTS})
UNMASKED = frozenset({Quantity.SCORES, Quantity.CAPPED_SCORES})
OF_PAIRS = WEIGHTS | UNMASKED | {Quantity.MASKED_SCORES}

# What threads cost each other, found by trials on two: too little in one call to be measured in a tenth of a second.
WAITING = 3  # seconds lost for each in which another thread runs Python: one is woken late, after every operation
CROWDING = 0.5  # by how much slower keys and values are read for each other thread that reads


def predict(problem: Problem, dimensions: Dimensions, threads: int, rates: Rates) -> float:
    """The seconds of `solve` on so many threads, all of them free; dimensions were checked."""
    d, scores = dimensions, SCORE_PRODUCTS[dimensions.compute]
    sharing = 1 if planner.is_tiny(d) else threads
    price = _Price(problem, d, rates, sharing)
    around = price.operands() + price.output()
    if planner.takes_reference(problem, d):
        return around + price.whole_arrays(price.type.reference, scores + 1)
    joined = d if _rows_lie_apart(problem, d) else planner.in_one_row(problem, d)
    plan = _plan(problem, joined, threads)
    counted = counts(problem.visibility, joined, plan)
    passes, arithmetic = 1, price.pairs(price.type.forward, counted, plan, scores, values=1)
    if problem.outputs & WEIGHTS:
        passes, arithmetic = 2, arithmetic + price.pairs(price.type.forward, counted, plan, scores, values=0)
    if problem.outputs & UNMASKED:
        arithmetic += price.every_pair * 2 * d.head_size * scores * price.type.flop
    arithmetic += len(problem.outputs & OF_PAIRS) * price.every_pair * price.type.copied
    python = counted.tasks * price.type.forward.task + passes * price.tiles(price.type.forward, counted)
    return around + price.before(price.type.forward, plan) + _shared(python, arithmetic, counted.tasks, sharing, rates)


def predict_gradients(problem: Problem, dimensions: Dimensions, threads: int, rates: Rates) -> float:
    """The seconds of `solve_gradients`; the rest is as for `predict`."""
    d, scores = dimensions, SCORE_PRODUCTS[dimensions.compute]
    price = _Price(problem, d, rates, threads)
    around = 2 * price.operands() + price.output()
    if planner.takes_reference(problem, d):
        return around + price.whole_arrays(price.type.reference_gradients, scores + 1 + GRADIENT_PRODUCTS)
    plan = _plan(problem, d, threads)
    counted = counts(problem.visibility, d, plan)
    half = GRADIENT_PRODUCTS // 2
    python = counted.tasks * price.type.gradients.task + price.tiles(price.type.gradients, counted)
    arithmetic = price.pairs(price.type.gradients, counted, plan, scores + half, values=1 + half)
    if not price.keeps_exponentials(plan):
        python += price.tiles(price.type.forward, counted)
        arithmetic += price.pairs(price.type.forward, counted, plan, scores, values=0)
    of_heads = d.batch * -(-d.kv_heads // plan.kv_heads)
    seconds = price.before(price.type.gradients, plan) + _shared(python, arithmetic, of_heads, threads, rates)
    if price.floating_mask:  # its gradient goes over all tiles once more, and makes their exponentials again
        python = price.tiles(price.type.forward, counted) + price.tiles(price.type.gradients, counted)
        features = scores * d.head_size + d.value_size
        arithmetic = counted.pairs * (rates.mask_gradient + 2 * features * price.type.flop)
        blocks = -(-d.queries // plan.queries)
        seconds += _shared(python, arithmetic, blocks, threads, rates)
    return around + seconds


def _plan(problem: Problem, dimensions: Dimensions, threads: int) -> Plan:
    plan = planner.plan(problem, dimensions, threads)
    assert plan is not None  # noqa: S101 - the reference has been ruled out
    return plan


def _rows_lie_apart(problem: Problem, d: Dimensions) -> bool:
    """Whether the heads of batch rows do not follow each other in memory, so that they are not put in one row."""
    return d.heads > 1 and (d.rank < 4 or problem.multi_head.axis_order is AxisOrder.SEQUENCE_FIRST)


def _shared(python: float, arithmetic: float, tasks: int, threads: int, rates: Rates) -> float:
    """Seconds of tasks that are alike: several threads compute at a time, but one runs Python, and others wait."""
    sharing = min(threads, tasks)
    if sharing < 2:
        return python + arithmetic
    longest = (python + arithmetic) * -(-tasks // sharing) / tasks  # of a thread
    return rates.handover + longest + WAITING * python * (sharing - 1) / sharing


@dataclass(frozen=True, slots=True)
class _Price:
    """What parts of a problem cost, in seconds of one of so many threads."""

    problem: Problem
    dimensions: Dimensions
    rates: Rates
    threads: int

    @property
    def type(self) -> TypeRates:
        """The rates of the compute type."""
        return self.rates.of(self.dimensions.compute)

    @property
    def every_pair(self) -> int:
        """Of queries and keys, hidden ones too."""
        d = self.dimensions
        return d.batch * d.heads * d.queries * d.all_keys

    @property
    def floating_mask(self) -> bool:
        """Whether a mask adds to scores."""
        mask = self.problem.visibility.mask
        return mask is not None and is_floating(mask.dtype)

    @property
    def by_distance(self) -> bool:
        """Whether distances add to scores."""
        return self.problem.scoring.alibi is not None or self.problem.scoring.relative_bias is not None

    def pairs(self, rate: PassRates, counted: Counts, plan: Plan, scores: int, values: int) -> float:
        """The pairs of a way over the tiles with products of so many matrices as large as keys, and as values."""
        d, of_type = self.dimensions, self.type
        features = scores * d.head_size + values * d.value_size
        each = rate.pair + 2 * features * of_type.flop + self._scoring()
        if self.by_distance:
            each += self.rates.by_distance
        elif plan.path is Path.DECODE:
            each += self.rates.running
        mapped = 0 if self.problem.visibility.block_map is None else counted.tasks * d.all_keys
        read = self.rates.read_by_one_row if counted.pairs == counted.keys else self.rates.read
        read *= 1 + CROWDING * (max(min(self.threads, counted.tasks), 1) - 1)
        return (
            counted.pairs * each
            + counted.keys * (features * d.compute.itemsize * read + d.head_size * of_type.cut)
            + counted.hidden_pairs * self.rates.hiding.pair
            + mapped * self.rates.mapped
        )

    def tiles(self, rate: PassRates, counted: Counts) -> float:
        """The Python of the tiles of a way over them."""
        hiding = self.rates.hiding.tile
        looked_at = counted.hiding_tiles if self.problem.visibility.block_map is None else counted.tiles
        return counted.tiles * rate.tile + looked_at * hiding

    def before(self, rate: PassRates, plan: Plan) -> float:
        """The Python of the call, and the judgement which rows need a running maximum, hidden keys and all."""
        d, visibility = self.dimensions, self.problem.visibility
        seconds = rate.call
        if is_limited(visibility) or visibility.block_map is not None:
            seconds += self.rates.hiding.call
        if plan.path is Path.DECODE:
            return seconds
        numbers = d.heads * d.queries * d.head_size + d.kv_heads * d.all_keys * (d.head_size + d.value_size)
        return seconds + d.batch * numbers * self.rates.judged

    def whole_arrays(self, rate: PassRates, products: int) -> float:
        """What the reference does, with products of so many matrices."""
        size = max(self.dimensions.head_size, self.dimensions.value_size)
        return rate.call + self.every_pair * (rate.pair + 2 * products * size * self.type.flop + self._scoring())

    def keeps_exponentials(self, plan: Plan) -> bool:
        """Whether the way back has the exponentials of the way forth."""
        d = self.dimensions
        kept = plan.kv_heads * d.groups * min(plan.queries, d.queries) * d.all_keys * d.compute.itemsize
        always_running = plan.path is Path.DECODE or self.by_distance
        return kept <= KEPT_BYTES and not always_running and not self.problem.scoring.softcap

    def operands(self) -> float:
        """From what was sent to heads: widened, projected, turned, after the cache."""
        d, of_type, problem = self.dimensions, self.type, self.problem
        narrow = sum(array.size for _, array in problem.arrays() if array.dtype.itemsize < 4)
        seconds = narrow * self.rates.converted
        queries, keys = d.batch * d.queries, d.batch * d.new_keys
        for name, rows in zip(PROJECTIONS, (queries, keys, keys, queries), strict=True):
            if (weight := getattr(problem.multi_head, name)) is not None:
                seconds += 2 * rows * weight.size * of_type.flop
        if problem.rotary is not None:
            turned = queries * d.heads + keys * d.kv_heads
            seconds += turned * d.head_size * of_type.turned + (queries + keys) * d.head_size * self.rates.angle / 2
        copies = (d.past > 0) + (d.extra_keys > 0)
        return seconds + copies * d.batch * d.kv_heads * d.keys * (d.head_size + d.value_size) * of_type.copied

    def output(self) -> float:
        """The output to memory, rounded with all that is asked for if the query has 16 bits."""
        d = self.dimensions
        numbers = d.batch * d.heads * d.queries * d.value_size
        if self.problem.query.dtype.itemsize >= 4:
            return numbers * self.type.copied
        return (numbers + len(self.problem.outputs & OF_PAIRS) * self.every_pair) * self.rates.converted

    def _scoring(self) -> float:
        """What a softcap and biases add to a pair."""
        of_type = self.type
        return of_type.tanh * (self.problem.scoring.softcap > 0) + of_type.bias * (
            self.by_distance + self.floating_mask
        )
