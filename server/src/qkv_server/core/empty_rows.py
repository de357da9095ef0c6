"""What queries are answered with that may see no key, where that is not 0."""

import numpy as np

from qkv_server.core.positions import BoolArray
from qkv_server.core.problem import Array, EmptyRow, Scoring, Visibility


def empty_row(visibility: Visibility, scoring: Scoring) -> EmptyRow:
    """What rows that may see no key are answered with: 0 where there are sinks, which take all the weight."""
    return EmptyRow.ZERO if scoring.sinks is not None else visibility.empty_row


def fill_empty_rows(
    policy: EmptyRow, empty: BoolArray, valid_keys: BoolArray, value: Array, output: Array, weights: Array | None
) -> None:
    """Fill the rows of output (n, G, r, Dv) and weights (n, G, r, T) that are empty (n, G, r), in place.

    NAN is NaN everywhere. MEAN_VALUE is an equal weight on each valid key (T), and so the mean of the values (n, T, Dv)
    there, be they finite or not; 0 if no key is valid.
    """
    if policy is EmptyRow.NAN:
        row_weights = np.full(valid_keys.shape, np.nan, output.dtype)
        row_output = np.full((value.shape[0], value.shape[2]), np.nan, output.dtype)
    else:
        row_weights = (valid_keys / np.maximum(valid_keys.sum(), 1)).astype(output.dtype)
        row_output = np.matmul(row_weights[valid_keys], value[:, valid_keys])  # (n, Dv)
    np.copyto(output, row_output[:, None, None], where=empty[..., None])
    if weights is not None:
        np.copyto(weights, row_weights, where=empty[..., None])
