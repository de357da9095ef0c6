"""What ONNX's reference evaluator answers to a problem, and a strategy of the problems that ONNX can express."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from qkv_server.core import Alignment, MultiHead, Problem, Quantity, Scoring, Visibility
from qkv_server.core.problem import Array

from .arrays import FLOAT64, DType, Numbers, Sizes
from .scorings import softcaps
from .visibilities import lengths, masks

OPSET = 25
MODES = {
    Quantity.SCORES: 0,
    Quantity.CAPPED_SCORES: 1,
    Quantity.MASKED_SCORES: 2,
    Quantity.WEIGHTS: 3,
}


def run_node(op_type: str, feeds: dict[str, Array | None], outputs: Sequence[str], **attributes: Any) -> list[Array]:
    """The outputs of a model of one node; an input that is None is left out."""
    given = {name: array for name, array in feeds.items() if array is not None}
    node = helper.make_node(op_type, [name if name in given else "" for name in feeds], outputs, **attributes)
    graph = helper.make_graph(
        [node],
        "one_node",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in given.items()
        ],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    return list(ReferenceEvaluator(model).run(None, given))


def onnx_answer(problem: Problem, dtype: DType | None = None) -> dict[str, Array]:
    """The output and the quantities that ONNX has, by their names in the answer, computed in a type (None: its own)."""

    def typed(array: Array | None) -> Array | None:
        return array if array is None or dtype is None or array.dtype == np.bool_ else array.astype(dtype)

    visibility, scoring = problem.visibility, problem.scoring
    feeds = {
        "Q": typed(problem.query),
        "K": typed(problem.key),
        "V": typed(problem.value),
        "attn_mask": typed(_mask_of_all_queries(problem)),
        "past_key": typed(problem.past_key),
        "past_value": typed(problem.past_value),
        "nonpad_kv_seqlen": np.array(visibility.key_lengths, np.int64) if visibility.key_lengths else None,
    }
    attributes: dict[str, Any] = {
        "is_causal": int(visibility.causal),
        "left_window_size": -1 if visibility.window_left is None else visibility.window_left,
        "right_window_size": -1 if visibility.window_right is None else visibility.window_right,
    }
    if problem.query.ndim == 3:
        heads = problem.multi_head.heads or 1
        attributes |= {"q_num_heads": heads, "kv_num_heads": problem.multi_head.kv_heads or heads}
    if scoring.scale is not None:
        attributes["scale"] = scoring.scale
    if scoring.softmax_precision is not None:
        attributes["softmax_precision"] = int(helper.np_dtype_to_tensor_dtype(scoring.softmax_precision))
    names = ("Y", "present_key", "present_value", "qk_matmul_output")
    answer: dict[str, Array] = {}
    for quantity, mode in MODES.items():
        # Mode 0 is "raw QK matmul result" by the operator's text; the evaluator returns it after the softcap.
        softcap = 0.0 if quantity is Quantity.SCORES else scoring.softcap
        outputs = run_node("Attention", feeds, names, **attributes, softcap=softcap, qk_matmul_output_mode=mode)
        answer |= dict(zip(("output", "present_key", "present_value", quantity.value), outputs, strict=True))
    return answer


def _mask_of_all_queries(problem: Problem) -> Array | None:
    """The mask, with its query axis written out when causal: the evaluator takes the number of queries from it then."""
    mask = problem.visibility.mask
    if mask is None or not problem.visibility.causal:
        return mask
    queries = problem.query.shape[-2]
    return np.broadcast_to(mask, (*mask.shape[:-2], queries, mask.shape[-1]))


@st.composite
def onnx_problems(
    draw: st.DrawFn, *, dtype: DType = FLOAT64, softmax_precisions: Sequence[DType | None] = (None,)
) -> Problem:
    """Everything of the operator Attention: its inputs and attributes, with this core's names.

    Without nonpad lengths ONNX's offset is TOP_LEFT, with them BOTTOM_RIGHT. Scales are squares of short
    numbers: the evaluator takes their root in float32.
    """
    numbers = Numbers(draw, (dtype,))
    rank = draw(st.sampled_from((3, 4)))
    kv_heads, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    sizes = Sizes(
        batch=draw(st.integers(1, 3)),
        heads=kv_heads * groups,
        kv_heads=kv_heads,
        queries=draw(st.integers(1, 6)),
        past=draw(st.none() | st.integers(0, 4)),
        new_keys=draw(st.integers(1, 6)),
    )
    head_size, value_size = draw(st.integers(1, 5)), draw(st.integers(1, 5))

    def operand(heads: int, length: int, size: int) -> Array:
        if rank == 3:
            return numbers.normal(sizes.batch, length, heads * size)
        return numbers.normal(sizes.batch, heads, length, size)

    def cache(size: int) -> Array | None:
        return None if sizes.past is None else numbers.normal(sizes.batch, kv_heads, sizes.past, size)

    key_lengths = lengths(draw, sizes.batch, sizes.new_keys) if sizes.past is None else ()
    return Problem(
        query=operand(sizes.heads, sizes.queries, head_size),
        key=operand(kv_heads, sizes.new_keys, head_size),
        value=operand(kv_heads, sizes.new_keys, value_size),
        multi_head=MultiHead(heads=sizes.heads, kv_heads=kv_heads) if rank == 3 else MultiHead(),
        visibility=Visibility(
            mask=masks(draw, sizes, numbers) if draw(st.booleans()) else None,
            causal=draw(st.booleans()),
            alignment=Alignment.BOTTOM_RIGHT if key_lengths else Alignment.TOP_LEFT,
            window_left=draw(st.none() | st.integers(0, 6)),
            window_right=draw(st.none() | st.integers(0, 6)),
            key_lengths=key_lengths,
        ),
        scoring=Scoring(
            scale=draw(st.none() | st.floats(0, 1.5, width=16).map(lambda root: root * root)),
            softcap=draw(softcaps()),
            softmax_precision=draw(st.sampled_from(softmax_precisions)),
        ),
        past_key=cache(head_size),
        past_value=cache(value_size),
        outputs=frozenset(Quantity),
    )
