"""In which form answers come: matrices to a question of matrices, as curl asks, tensors to one of tensors."""

from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from google.protobuf import json_format
from refusals import Attend

import qkv
from qkv import codec
from qkv._options import QuantityName
from qkv.v1.attention_pb2 import AttentionRequest, AttentionResponse, Quantity

Array = npt.NDArray[Any]

QUANTITIES: tuple[QuantityName, ...] = get_args(QuantityName)

WALKTHROUGH = """
{"query": {"matrix": {"rows": 3, "columns": 4, "values": [0.5,0.8,0.2,0.6, 0.7,0.1,0.9,0.3, 0.4,0.6,0.3,0.8]}},
 "scoring": {"scale": 1, "softmaxAxis": "SOFTMAX_AXIS_QUERIES"}, "outputs": ["QUANTITY_SCORES", "QUANTITY_WEIGHTS"]}
"""
EMBEDDINGS = np.array([[0.5, 0.8, 0.2, 0.6], [0.7, 0.1, 0.9, 0.3], [0.4, 0.6, 0.3, 0.8]])


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


def matrix_question(heads: int = 0) -> AttentionRequest:
    """A question of matrices that asks for everything."""
    request = AttentionRequest(outputs=Quantity.keys()[1:])
    request.query.matrix.CopyFrom(codec.to_matrix(normal(3, 4)))
    request.key.matrix.CopyFrom(codec.to_matrix(normal(5, 4)))
    request.value.matrix.CopyFrom(codec.to_matrix(normal(5, 4, seed=1)))
    request.multi_head.heads = heads
    return request


def arrays_of(response: AttentionResponse) -> dict[str, Array]:
    names = [name for name in ("output", *QUANTITIES) if response.HasField(name)]
    return {name: codec.from_operand(getattr(response, name), name) for name in names}


def test_a_question_of_matrices_is_answered_with_matrices(attend: Attend, client: qkv.Client) -> None:
    """Every quantity is a matrix, log-sum-exp one of a single column; the numbers are those of the tensors' answer."""
    response = attend(matrix_question())
    tensors = client.attention(normal(3, 4), normal(5, 4), normal(5, 4, seed=1), outputs=QUANTITIES).arrays()
    found = arrays_of(response)
    assert found.keys() == tensors.keys()
    for name, array in found.items():
        assert getattr(response, name).WhichOneof("source") == "matrix", name
        expected = tensors[name][:, None] if name == "log_sum_exp" else tensors[name]
        np.testing.assert_array_equal(array, expected, strict=True)
    assert (response.log_sum_exp.matrix.rows, response.log_sum_exp.matrix.columns) == (3, 1)


def test_what_has_three_axes_is_a_tensor_also_for_matrices(attend: Attend) -> None:
    """With heads, quantities of rank 3 are float64 tensors; what has rank 2 is still a matrix."""
    response = attend(matrix_question(heads=2))
    forms = {name: getattr(response, name).WhichOneof("source") for name in arrays_of(response)}
    flat = ("output", "averaged_weights", "log_sum_exp")
    assert forms == {name: "matrix" if name in flat else "tensor" for name in ("output", *QUANTITIES)}
    for name, array in arrays_of(response).items():
        assert array.dtype == np.float64, name
    assert response.weights.tensor.shape == [2, 3, 5]


def test_only_the_form_of_the_query_counts(attend: Attend) -> None:
    """A tensor asked against matrices is answered with a tensor, a matrix against tensors with a matrix."""
    request = matrix_question()
    request.query.tensor.CopyFrom(codec.to_tensor(normal(3, 4)))
    assert attend(request).output.WhichOneof("source") == "tensor"
    request = matrix_question()
    request.key.tensor.CopyFrom(codec.to_tensor(normal(5, 4)))
    assert attend(request).output.WhichOneof("source") == "matrix"


def test_the_walkthrough_gives_the_numbers_of_numpy(attend: Attend) -> None:
    """The request that people type as JSON is answered with X·Xᵀ and a softmax of each column, as NumPy has them."""
    response = attend(json_format.Parse(WALKTHROUGH, AttentionRequest()))
    scores = EMBEDDINGS @ EMBEDDINGS.T
    weights = np.exp(scores) / np.exp(scores).sum(axis=0, keepdims=True)
    found = arrays_of(response)
    assert found.keys() == {"output", "scores", "weights"}
    np.testing.assert_allclose(found["scores"], scores, rtol=1e-14)
    np.testing.assert_allclose(found["weights"], weights, rtol=1e-14)
    np.testing.assert_allclose(found["output"], weights @ EMBEDDINGS, rtol=1e-14)


def test_the_walkthroughs_embeddings_are_the_output_over_keys(client: qkv.Client) -> None:
    """The text's new embeddings, weights over axis 0 transposed times X, are the ordinary output."""
    scores = EMBEDDINGS @ EMBEDDINGS.T
    weights = np.exp(scores) / np.exp(scores).sum(axis=0, keepdims=True)
    output = client.attention(EMBEDDINGS, scale=1).output
    np.testing.assert_allclose(output, weights.T @ EMBEDDINGS, rtol=1e-14)
