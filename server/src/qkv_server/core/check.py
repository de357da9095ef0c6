"""Checks a problem before anything is computed and finds every wrong field."""

from collections.abc import Iterable, Sequence

import numpy as np

from qkv_server.core.check_positions import check_position_options, check_positions
from qkv_server.core.dimensions import Dimensions
from qkv_server.core.measure import measure
from qkv_server.core.planner import reference_only
from qkv_server.core.precision import FLOATING, DType, compute_type, is_floating
from qkv_server.core.problem import Array, EmptyRow, MultiHead, Path, Problem, Scoring, SoftmaxAxis, Visibility
from qkv_server.core.violations import Violations
from qkv_server.core.visibility import alignment_matters


def check(problem: Problem) -> Dimensions:
    """The sizes of the problem; raises InvalidProblemError naming every wrong field if it has no answer."""
    found = Violations()
    operands = list(problem.arrays())
    compute = compute_type(*[array.dtype for _, array in operands])
    _check_types(operands, problem.visibility, problem.scoring, found)
    _check_options(problem.visibility, problem.scoring, found)
    check_position_options(problem.visibility, problem.scoring, problem.rotary, found)
    _check_scale(problem.scoring, compute, found)
    dimensions = measure(problem, compute, found)
    if dimensions is not None:
        _check_output_projection(problem.multi_head, dimensions, found)
        _check_extras(problem.multi_head, dimensions, found)
        _check_past(problem, dimensions, found)
        _check_mask(problem.visibility, dimensions, found)
        _check_lengths(problem.visibility, dimensions, found)
        _check_sinks(problem.scoring, dimensions, found)
        check_positions(problem, dimensions, found)
    if dimensions is None or found:
        found.raise_if_any()
    assert dimensions is not None  # noqa: S101 - measure noted a violation otherwise
    _check_alignment(problem, dimensions, found)
    _check_path(problem, dimensions, found)
    found.raise_if_any()
    return dimensions


def check_options(problem: Problem) -> None:
    """Check what is right or wrong whatever the shapes are, for a problem whose arrays are not all known.

    Raises InvalidProblemError as `check` does.
    """
    found = Violations()
    _check_types(problem.arrays(), problem.visibility, problem.scoring, found)
    _check_options(problem.visibility, problem.scoring, found)
    check_position_options(problem.visibility, problem.scoring, problem.rotary, found)
    _check_scale(problem.scoring, np.dtype(np.float64), found)  # the widest: an array that is not known may have it
    found.raise_if_any()


def _check_types(
    operands: Iterable[tuple[str, Array]], visibility: Visibility, scoring: Scoring, found: Violations
) -> None:
    for field, array in operands:
        found.require_floating(array.dtype, field)
    mask = visibility.mask
    if mask is not None and mask.dtype != np.bool_ and not is_floating(mask.dtype):
        found.add("visibility.mask", f"type is {mask.dtype.name}, expected bool or one of {_or(FLOATING)}")
    if scoring.sinks is not None:
        found.require_floating(scoring.sinks.dtype, "scoring.sinks")
    if scoring.softmax_precision is not None:
        found.require_floating(scoring.softmax_precision, "scoring.softmax_precision")


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
        found.require(
            scoring.sinks is None, "scoring.sinks", "have no meaning for a softmax over queries, expected none"
        )


def _check_scale(scoring: Scoring, compute: DType, found: Violations) -> None:
    scale, softcap = scoring.scale, scoring.softcap
    if scale is None and softcap == 0:
        return
    largest = float(np.finfo(compute).max)
    smallest = float(np.finfo(compute).smallest_subnormal)
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
        found.require_shape(bias, (dimensions.out_features,), "multi_head.output_bias")


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
        if found.require_shape(array, expected, name) and problem.past_key is not None:
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
        if not found.require(
            len(lengths) == batch, field, f"has {len(lengths)} entries, expected {batch}, one per batch row"
        ):
            continue
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


def _check_sinks(scoring: Scoring, dimensions: Dimensions, found: Violations) -> None:
    if scoring.sinks is not None:
        found.require_shape(scoring.sinks, (dimensions.heads,), "scoring.sinks")


def _check_alignment(problem: Problem, dimensions: Dimensions, found: Violations) -> None:
    visibility = problem.visibility
    if visibility.alignment is not None or not alignment_matters(
        visibility, dimensions, positional=_positional(problem)
    ):
        return
    lengths = " of several lengths" if any(map(len, (visibility.key_lengths, visibility.query_lengths))) else ""
    packed = " in segments" if len(visibility.cumulative_query_lengths) else ""
    found.add(
        "visibility.alignment",
        f"needed: {dimensions.queries} queries and {dimensions.new_keys} keys{lengths}{packed}, so TOP_LEFT and "
        "BOTTOM_RIGHT give different answers",
    )


def _positional(problem: Problem) -> bool:
    """Whether scores depend on where queries stand."""
    turned = problem.rotary is not None and problem.rotary.query_positions is None
    return turned or problem.scoring.alibi is not None or problem.scoring.relative_bias is not None


def _check_path(problem: Problem, dimensions: Dimensions, found: Violations) -> None:
    path = problem.path
    if path not in (None, Path.REFERENCE) and (reason := reference_only(problem, dimensions)):
        found.add("path", f"is {path.name}, expected REFERENCE or unset: {reason}")


def _or(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" or {names[-1]}"
