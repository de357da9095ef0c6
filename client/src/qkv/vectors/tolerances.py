"""How far an answer may be from the float64 one.

Both tolerances are a number that goes by the type: `relative` to each element, and `absolute` relative to the largest
finite element of the array, since what is small in it is a difference of what is large. The number is, of float16 and
bfloat16, two spacings at 1 (eps), so that weights rounded before the last product pass; of float32, where the rounding
of scores of size 10 is what counts, 32 spacings; of float64 as much as leaves plain float64 arithmetic alone.
"""

import numpy as np

from qkv.codec import Array
from qkv.v1 import tensor_pb2
from qkv.v1.tensor_pb2 import DataType

BY_TYPE: dict[DataType, float] = {
    tensor_pb2.DATA_TYPE_FLOAT64: 1e-12,
    tensor_pb2.DATA_TYPE_FLOAT32: 2.0**-18,
    tensor_pb2.DATA_TYPE_FLOAT16: 2.0**-9,
    tensor_pb2.DATA_TYPE_BFLOAT16: 2.0**-6,
}


def tolerances(expected: Array, *types: DataType) -> tuple[float, float]:
    """The absolute and the relative tolerance of an array that is rounded to these types on its way."""
    relative = max(BY_TYPE[of_type] for of_type in types)
    largest = float(np.abs(expected[np.isfinite(expected)]).max(initial=0))
    return relative * (largest or 1.0), relative
