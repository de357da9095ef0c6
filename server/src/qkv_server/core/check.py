"""Checks a problem before anything is computed, finds every wrong field, and measures the sizes of a right one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qkv_server.core.dimensions import Dimensions
from qkv_server.core.precision import FLOATING, DType, compute_type, is_floating
from qkv_server.core.problem import Array, AxisOrder, EmptyRow, MultiHead, Problem, Scoring, SoftmaxAxis, Visibility
from qkv_server.core.violations import Violations
from qkv_server.core.visibility import alignment_matters

PROJECTIONS = ("query_weight", "key_weight", "value_weight", "output_weight")
BIASES = ("query_bias", "key_bias", "value_bias", "output_bias")
EXTRAS = ("extra_key", "extra_value")


def check(problem: Problem) -> Dimensions:
    """The sizes of the problem; raises InvalidProblemError naming every wrong field if it has no answer."""
    found = Violations()
    _check_types(problem, found)
    _check_options(problem.visibility, problem.scoring, found)
    _check_scale(problem.scoring, compute_type(*(array.dtype for _, array in _arrays(problem))), found)
    dimensions = _measure(problem, found)
    if dimensions is not None:
        _check_output_projection(problem.multi_head, dimensions, found)
        _check_extras(problem.multi_head, dimensions, found)
        _check_past(problem, dimensions, found)
        _check_mask(problem.visibility, dimensions, found)
        _check_lengths(problem.visibility, dimensions, found)
    if dimensions is None or found:
        found.raise_if_any()
    assert dimensions is not None  # noqa: S101 - _measure noted a violation otherwise
    _check_alignment(problem.visibility, dimensions, found)
    found.raise_if_any()
    return dimensions


def check_options(problem: Problem) -> None:
    """Check what is right or wrong whatever the shapes are, for a problem whose arrays are not all known.

    Raises InvalidProblemError as `check` does.
    """
    found = Violations()
    _check_types(problem, found)
    _check_options(problem.visibility, problem.scoring, found)
    _check_scale(problem.scoring, np.dtype(np.float64), found)  # the widest: an array that is not known may have it
    found.raise_if_any()


def _arrays(problem: Problem) -> Iterator[tuple[str, Array]]:
    """Every array that takes part in the arithmetic, by the path of its field; the mask does not."""
    for name in ("query", "key", "value", "past_key", "past_value"):
        if (array := getattr(problem, name)) is not None:
            yield name, array
    for name in (*PROJECTIONS, *BIASES, *EXTRAS):
        if (array := getattr(problem.multi_head, name)) is not None:
            yield f"multi_head.{name}", array


def _check_types(problem: Problem, found: Violations) -> None:
    for field, array in _arrays(problem):
        found.require(is_floating(array.dtype), field, f"type is {array.dtype.name}, expected one of {_or(FLOATING)}")
    mask = problem.visibility.mask
    if mask is not None:
        found.require(
            mask.dtype == np.bool_ or is_floating(mask.dtype),
            "visibility.mask",
            f"type is {mask.dtype.name}, expected bool or one of {_or(FLOATING)}",
        )
    precision = problem.scoring.softmax_precision
    if precision is not None:
        found.require(
            is_floating(precision),
            "scoring.softmax_precision",
            f"type is {precision.name}, expected one of {_or(FLOATING)}",
        )


def _check_options(visibility: Visibility, scoring: Scoring, found: Violations) -> None:
    for field, width in (("window_left", visibility.window_left), ("window_right", visibility.window_right)):
        if width is not None:
            found.require(width >= 0, f"visibility.{field}", f"is {width}, expected at least 0, or unset for no bound")
    if scoring.softmax_axis is SoftmaxAxis.QUERIES:
        found.require(
            visibility.empty_row is EmptyRow.ZERO,
            "visibility.empty_row",
            f"is {visibility.empty_row.name}, which has no meaning for a softmax over queries, expected ZERO",
        )


@dataclass(frozen=True, slots=True)
class _PerHead:
    """The sizes of one operand with its heads apart."""

    batch: int
    heads: int
    length: int
    size: int


def _measure(problem: Problem, found: Violations) -> Dimensions | None:
    """The sizes of query, key and value, or None when they do not fit together."""
    query = problem.query
    key = problem.key if problem.key is not None else query
    value = problem.value if problem.value is not None else key
    multi_head = problem.multi_head
    if not found.require(query.ndim in (2, 3, 4), "query", f"rank is {query.ndim}, expected 2, 3 or 4"):
        return None
    for field, array in (("key", key), ("value", value)):
        found.require(array.ndim == query.ndim, field, f"rank is {array.ndim}, query has {query.ndim}")
    heads_known = _check_head_counts(multi_head, query.ndim, found)
    if key.ndim != query.ndim or value.ndim != query.ndim or not heads_known:
        return None
    heads, kv_heads = multi_head.heads or 1, multi_head.kv_heads or multi_head.heads or 1
    q = _split("query", query, heads, multi_head, found)
    k = _split("key", key, kv_heads, multi_head, found)
    v = _split("value", value, kv_heads, multi_head, found)
    if q is None or k is None or v is None or not _agree(q, k, v, problem, found):
        return None
    arrays = [array.dtype for _, array in _arrays(problem)]
    compute = compute_type(*arrays)
    return Dimensions(
        rank=query.ndim,
        batch=q.batch,
        heads=q.heads,
        kv_heads=k.heads,
        queries=q.length,
        past=_past_length(problem),
        new_keys=k.length,
        extra_keys=(multi_head.extra_key is not None) + multi_head.add_zero_attention,
        head_size=q.size,
        value_size=v.size,
        out_features=_out_features(multi_head, q.heads * v.size),
        compute=compute,
        softmax=(problem.scoring.softmax_precision or compute).newbyteorder("="),
    )


def _check_head_counts(multi_head: MultiHead, rank: int, found: Violations) -> bool:
    heads, kv_heads = multi_head.heads, multi_head.kv_heads
    right = found.require(heads >= 0, "multi_head.heads", f"is {heads}, expected at least 0")
    right &= found.require(kv_heads >= 0, "multi_head.kv_heads", f"is {kv_heads}, expected at least 0")
    if not right or rank == 4:
        return right
    right &= found.require(
        not kv_heads or heads > 0, "multi_head.heads", f"needed: kv_heads is {kv_heads}, and the query has rank {rank}"
    )
    if right and kv_heads:
        right = _check_divides(heads, kv_heads, "multi_head.kv_heads", found)
    return right


def _check_divides(heads: int, kv_heads: int, field: str, found: Violations) -> bool:
    return found.require(
        heads % kv_heads == 0, field, f"{kv_heads} key heads cannot serve {heads} query heads, expected a divisor"
    )


def _split(name: str, array: Array, heads: int, multi_head: MultiHead, found: Violations) -> _PerHead | None:
    """The sizes of query, key or value after its projection, with its heads apart."""
    weight: Array | None = getattr(multi_head, f"{name}_weight")
    bias: Array | None = getattr(multi_head, f"{name}_bias")
    if array.ndim == 4:
        for kind, projection in (("weight", weight), ("bias", bias)):
            if projection is not None:
                found.add(
                    f"multi_head.{name}_{kind}", "a projection needs a query of rank 2 or 3, the query has rank 4"
                )
        if multi_head.axis_order is AxisOrder.HEADS_FIRST:
            batch, axis_heads, length, size = array.shape
        else:
            batch, length, axis_heads, size = array.shape
        given, field = _given_heads(name, multi_head)
        found.require(given in (0, axis_heads), field, f"is {given}, but {name} has {axis_heads} heads on its axis")
        if not found.require(axis_heads > 0, name, "has 0 heads, expected at least 1"):
            return None
        return _PerHead(batch, axis_heads, length, size)
    features, field = array.shape[-1], name
    if weight is not None:
        field = f"multi_head.{name}_weight"
        if not found.require(weight.ndim == 2, field, f"rank is {weight.ndim}, expected 2: (out, in)"):
            return None
        found.require(
            weight.shape[1] == features, field, f"shape is {weight.shape}, expected (out, {features}) for this {name}"
        )
        features = weight.shape[0]
    if bias is not None:
        _check_shape(bias, (features,), f"multi_head.{name}_bias", found)
    if not found.require(
        features % heads == 0, field, f"{features} features do not divide into {heads} heads of equal size"
    ):
        return None
    batch = array.shape[0] if array.ndim == 3 else 1
    return _PerHead(batch, heads, array.shape[-2], features // heads)


def _given_heads(name: str, multi_head: MultiHead) -> tuple[int, str]:
    """The head count that was asked for an operand (0: none), and the field that asked."""
    if name == "query":
        return multi_head.heads, "multi_head.heads"
    return multi_head.kv_heads, "multi_head.kv_heads"


def _agree(q: _PerHead, k: _PerHead, v: _PerHead, problem: Problem, found: Violations) -> bool:
    """Whether query, key and value have the batch, heads, lengths and head sizes that attention needs."""
    fields = {name: _shaping_field(name, problem.multi_head) for name in ("query", "key", "value")}
    right = found.require(q.size > 0, fields["query"], "head size is 0, expected at least 1")
    right &= found.require(k.batch == q.batch, "key", f"batch is {k.batch}, query has {q.batch}")
    right &= found.require(v.batch == q.batch, "value", f"batch is {v.batch}, query has {q.batch}")
    if k.heads == q.heads == 1:
        mismatch = f"last axis is {k.size}, query has {q.size}"
    else:
        mismatch = f"head size is {k.size}, query has {q.size}"
    right &= found.require(k.size == q.size, fields["key"], mismatch)
    right &= found.require(v.length == k.length, "value", f"has {v.length} values for {k.length} keys")
    if problem.query.ndim == 4:
        right &= found.require(v.heads == k.heads, "value", f"has {v.heads} heads, key has {k.heads}")
        right &= _check_divides(q.heads, k.heads, "key", found)
    return right


def _shaping_field(name: str, multi_head: MultiHead) -> str:
    """The field that decides the features of an operand: its projection if it has one."""
    return name if getattr(multi_head, f"{name}_weight") is None else f"multi_head.{name}_weight"


def _out_features(multi_head: MultiHead, joined: int) -> int:
    """The last axis of the output of rank 2 or 3."""
    weight = multi_head.output_weight
    return weight.shape[0] if weight is not None and weight.ndim == 2 else joined


def _past_length(problem: Problem) -> int:
    """P, also where only one of the caches says it, so that what is wrong with the other is told once."""
    for past in (problem.past_key, problem.past_value):
        if past is not None and past.ndim >= 2:
            return int(past.shape[-2])
    return 0


def _check_scale(scoring: Scoring, compute: DType, found: Violations) -> None:
    largest = float(np.finfo(compute).max)
    smallest = float(np.finfo(compute).smallest_subnormal)
    scale, softcap = scoring.scale, scoring.softcap
    if scale is not None:
        found.require(abs(scale) <= largest, "scoring.scale", f"is {scale}, expected a finite number of {compute}")
    found.require(
        softcap == 0 or smallest <= softcap <= largest,
        "scoring.softcap",
        f"is {softcap}, expected 0 for off, or a finite positive number of {compute}",
    )


def _check_output_projection(multi_head: MultiHead, dimensions: Dimensions, found: Violations) -> None:
    weight, bias = multi_head.output_weight, multi_head.output_bias
    if dimensions.rank == 4:
        for field, projection in (("output_weight", weight), ("output_bias", bias)):
            if projection is not None:
                found.add(f"multi_head.{field}", "a projection needs a query of rank 2 or 3, the query has rank 4")
        return
    joined = dimensions.heads * dimensions.value_size
    if weight is not None and found.require(
        weight.ndim == 2, "multi_head.output_weight", f"rank is {weight.ndim}, expected 2: (out, in)"
    ):
        found.require(
            weight.shape[1] == joined,
            "multi_head.output_weight",
            f"shape is {weight.shape}, expected (out, {joined}): {dimensions.heads} heads of {dimensions.value_size}",
        )
    if bias is not None and (weight is None or weight.ndim == 2):
        _check_shape(bias, (dimensions.out_features,), "multi_head.output_bias", found)


def _check_extras(multi_head: MultiHead, dimensions: Dimensions, found: Violations) -> None:
    for name, other, size in (
        ("extra_key", "extra_value", dimensions.head_size),
        ("extra_value", "extra_key", dimensions.value_size),
    ):
        array: Array | None = getattr(multi_head, name)
        if array is None:
            found.require(getattr(multi_head, other) is None, f"multi_head.{name}", f"needed: {other} is given")
            continue
        features = dimensions.kv_heads * size
        found.require(
            array.shape in ((features,), (1, 1, features)),
            f"multi_head.{name}",
            f"shape is {array.shape}, expected ({features},) or (1, 1, {features})",
        )


def _check_past(problem: Problem, dimensions: Dimensions, found: Violations) -> None:
    for name, other, size in (
        ("past_key", "past_value", dimensions.head_size),
        ("past_value", "past_key", dimensions.value_size),
    ):
        array: Array | None = getattr(problem, name)
        if array is None:
            found.require(getattr(problem, other) is None, name, f"needed: {other} is given")
            continue
        expected: tuple[int | None, ...] = (dimensions.batch, dimensions.kv_heads, None, size)
        if dimensions.rank == 2:
            expected = expected[1:] if problem.multi_head.heads else expected[2:]
        if _check_shape(array, expected, name, found) and problem.past_key is not None:
            found.require(
                array.shape[-2] == dimensions.past,
                name,
                f"has {array.shape[-2]} values for {dimensions.past} past keys",
            )


def _check_mask(visibility: Visibility, dimensions: Dimensions, found: Violations) -> None:
    mask, field = visibility.mask, "visibility.mask"
    if mask is None or not found.require(1 <= mask.ndim <= 4, field, f"rank is {mask.ndim}, expected 1 to 4"):
        return
    width, keys = mask.shape[-1], dimensions.keys
    found.require(width <= keys, field, f"last axis is {width}, longer than the {keys} keys")
    found.require(
        width != 1 or keys == 1,
        field,
        f"last axis is 1 for {keys} keys: it could be broadcast to all or padded with hidden, expected {keys}",
    )
    full = (dimensions.batch, dimensions.heads, dimensions.queries)
    axes = mask.shape[:-1]
    fits = all(axis in (1, size) for axis, size in zip(reversed(axes), reversed(full), strict=False))
    hint = ""
    if mask.ndim == 3 and axes[0] == dimensions.batch:
        hint = "; rank 3 is (heads, queries, keys): for a mask per batch row insert a heads axis of 1"
    found.require(fits, field, f"shape is {mask.shape}, expected to broadcast to {(*full, keys)}{hint}")


def _check_lengths(visibility: Visibility, dimensions: Dimensions, found: Violations) -> None:
    for name, lengths, limit, of in (
        ("key_lengths", visibility.key_lengths, dimensions.new_keys, "keys"),
        ("query_lengths", visibility.query_lengths, dimensions.queries, "queries"),
    ):
        if not len(lengths):
            continue
        field, batch = f"visibility.{name}", dimensions.batch
        found.require(len(lengths) == batch, field, f"has {len(lengths)} entries, expected {batch}, one per batch row")
        for row, length in enumerate(lengths):
            if not found.require(
                0 <= length <= limit, field, f"entry {row} is {length}, expected 0 to {limit}, the {of} given"
            ):
                break
    if dimensions.past and len(visibility.key_lengths):
        found.add(
            "visibility.key_lengths",
            "cannot be combined with past_key: a length could count the cached keys or not; hide padding by the mask",
        )


def _check_alignment(visibility: Visibility, dimensions: Dimensions, found: Violations) -> None:
    if visibility.alignment is None and alignment_matters(visibility, dimensions):
        lengths = "" if not len(visibility.key_lengths) and not len(visibility.query_lengths) else " of several lengths"
        found.add(
            "visibility.alignment",
            f"needed: {dimensions.queries} queries and {dimensions.new_keys} keys{lengths}, so TOP_LEFT and "
            "BOTTOM_RIGHT give different answers",
        )


def _check_shape(array: Array, expected: Sequence[int | None], field: str, found: Violations) -> bool:
    """Require a shape in which None stands for any length."""
    fits = array.ndim == len(expected) and all(
        want is None or got == want for got, want in zip(array.shape, expected, strict=True)
    )
    wanted = ", ".join("any" if want is None else str(want) for want in expected)
    comma = "," if len(expected) == 1 else ""
    return found.require(fits, field, f"shape is {array.shape}, expected ({wanted}{comma})")


def _or(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" or {names[-1]}"
