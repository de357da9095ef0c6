"""The node tests of ONNX operators, made in memory by the onnx package, and how they are judged."""

import importlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx.backend.test.case import node
from onnx.backend.test.case.test_case import TestCase

Array = npt.NDArray[Any]

BFLOAT16_TOLERANCE = 2.0**-6  # ONNX's own for bfloat16: two units in the last place


def plain_cases(operator_module: str, prefix: str) -> list[TestCase]:
    """The cases of an operator that are one node of it, not its expansion into others."""
    importlib.import_module(f"onnx.backend.test.case.node.{operator_module}")
    return [
        case
        for case in node._NodeTestCases  # the list that every module of cases adds to
        if case.name.startswith(prefix) and "_expanded" not in case.name
    ]


def attributes(case: TestCase) -> dict[str, Any]:
    """The attributes of the case's node, by name."""
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in _node(case).attribute}


def inputs(case: TestCase) -> dict[str, Array]:
    """The inputs of the case's node that are given, by the name that the operator gives them."""
    return _named(_node(case).input, _data(case)[0])


def outputs(case: TestCase) -> dict[str, Array]:
    """The outputs that the case expects, by the name that the operator gives them."""
    return _named(_node(case).output, _data(case)[1])


def _node(case: TestCase) -> onnx.NodeProto:
    assert case.model is not None
    (only,) = case.model.graph.node
    return only


def _data(case: TestCase) -> tuple[Sequence[Array], Sequence[Array]]:
    assert case.data_sets is not None
    (only,) = case.data_sets
    return only


def _named(names: Iterable[str], arrays: Sequence[Array]) -> dict[str, Array]:
    """Arrays by name; one that is left out has an empty name, and no array."""
    return dict(zip(filter(None, names), arrays, strict=True))


def assert_conforms(actual: Array | None, expected: Array, case: TestCase) -> None:
    """Exact type and shape, values within the tolerance of the case."""
    assert actual is not None
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    half = expected.dtype.name == "bfloat16"
    np.testing.assert_allclose(
        actual.astype(np.float64),
        expected.astype(np.float64),
        rtol=BFLOAT16_TOLERANCE if half else case.rtol,
        atol=case.atol,
    )
