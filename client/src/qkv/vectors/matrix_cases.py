"""Calls that are typed: their operands are matrices, which are in the request and computed in float64."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from qkv.vectors.vector import KINDS

X = {"rows": 3, "columns": 4, "values": [0.5, 0.8, 0.2, 0.6, 0.7, 0.1, 0.9, 0.3, 0.4, 0.6, 0.3, 0.8]}
Y = {"rows": 2, "columns": 4, "values": [0.1, -0.2, 0.3, -0.4, 1.5, 0.0, -1.0, 0.25]}
MASK = {"rows": 3, "columns": 2, "values": ["-Infinity", 0, 0.5, -1.5, 2, "-Infinity"]}
D_OUTPUT = {"rows": 3, "columns": 4, "values": [1, 0, 0, -1, 0.5, 0.5, 0, 0, 0, 2, -1, 0]}
PARTS = [
    {
        "output": {"matrix": {"rows": 2, "columns": 2, "values": [1, 2, 3, 4]}},
        "logSumExp": {"matrix": {"rows": 2, "columns": 1, "values": [0.5, -1]}},
    },
    {
        "output": {"matrix": {"rows": 2, "columns": 2, "values": [-1, 0, 5, "NaN"]}},
        "logSumExp": {"matrix": {"rows": 2, "columns": 1, "values": [1.5, "-Infinity"]}},
    },
]
WALK = {"query": {"matrix": X}, "scoring": {"scale": 1}}

MATRICES: Mapping[str, tuple[str, dict[str, Any]]] = {  # methods, and requests in JSON
    "walk_through": ("Attend", {**WALK, "outputs": ["QUANTITY_SCORES", "QUANTITY_WEIGHTS"]}),
    "walk_through_over_queries": (
        "Attend",
        {
            "query": {"matrix": X},
            "scoring": {"scale": 1, "softmaxAxis": "SOFTMAX_AXIS_QUERIES"},
            "outputs": ["QUANTITY_SCORES", "QUANTITY_WEIGHTS"],
        },
    ),
    "two_heads": ("Attend", {**WALK, "multiHead": {"heads": 2}, "outputs": ["QUANTITY_WEIGHTS"]}),
    "mask": (
        "Attend",
        {
            "query": {"matrix": X},
            "key": {"matrix": Y},
            "visibility": {"mask": {"matrix": MASK}},
            "outputs": ["QUANTITY_MASKED_SCORES", "QUANTITY_LOG_SUM_EXP", "QUANTITY_PRESENT_KEY"],
        },
    ),
    "gradient": (
        "Differentiate",
        {
            "attention": {
                "query": {"matrix": X},
                "key": {"matrix": Y},
                "value": {"matrix": Y},
                "visibility": {"mask": {"matrix": MASK}},
            },
            "dOutput": {"matrix": D_OUTPUT},
        },
    ),
    "merge": ("Merge", {"parts": PARTS}),
}


def request_of(name: str) -> tuple[str, Message]:
    """The method and the request of a case."""
    method, content = MATRICES[name]
    return method, ParseDict(content, KINDS[method].request())
