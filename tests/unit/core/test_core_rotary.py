"""Rotary position embedding, against ONNX's reference evaluator and against what it is for."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkv_server.core import InvalidProblemError, rotary_embedding, rotary_tables
from qkv_server.core.problem import Array

from .agreement import assert_agrees
from .arrays import DTYPES, FLOAT64, DType, Numbers
from .onnx_oracle import run_node

POSITIONS = 7


@dataclass(frozen=True)
class Rotation:
    """The arguments of rotary_embedding."""

    x: Array
    cosines: Array
    sines: Array
    position_ids: Array | None
    heads: int
    rotary_size: int
    interleaved: bool

    def rotated(self) -> Array:
        return rotary_embedding(
            self.x,
            self.cosines,
            self.sines,
            self.position_ids,
            heads=self.heads,
            rotary_size=self.rotary_size,
            interleaved=self.interleaved,
        )

    def rotated_by_onnx(self) -> Array:
        feeds = {
            "X": self.x.astype(np.float64),
            "cos_cache": self.cosines.astype(np.float64),
            "sin_cache": self.sines.astype(np.float64),
            "position_ids": self.position_ids,
        }
        attributes = {"interleaved": int(self.interleaved), "rotary_embedding_dim": self.rotary_size}
        if self.x.ndim == 3:
            attributes["num_heads"] = self.heads
        return run_node("RotaryEmbedding", feeds, ["Y"], **attributes)[0]


@st.composite
def rotations(draw: st.DrawFn, dtype: DType = FLOAT64) -> Rotation:
    numbers = Numbers(draw, (dtype,))
    batch, heads, length = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    head_size = 2 * draw(st.integers(1, 4))
    rotary_size = draw(st.sampled_from(range(0, head_size + 1, 2)))
    half = (rotary_size or head_size) // 2
    with_ids = draw(st.booleans())
    angles = numbers.generator.uniform(-10, 10, (POSITIONS, half) if with_ids else (batch, length, half))
    joined = draw(st.booleans())
    return Rotation(
        x=numbers.normal(batch, length, heads * head_size)
        if joined
        else numbers.normal(batch, heads, length, head_size),
        cosines=np.cos(angles).astype(dtype),
        sines=np.sin(angles).astype(dtype),
        position_ids=numbers.generator.integers(0, POSITIONS, (batch, length)) if with_ids else None,
        heads=heads if joined else 0,
        rotary_size=rotary_size,
        interleaved=draw(st.booleans()),
    )


@settings(max_examples=200, deadline=None)
@given(rotation=rotations())
def test_rotation_agrees_with_onnx_in_float64(rotation: Rotation) -> None:
    """Any layout, pairing, part of the head and form of the tables is turned as ONNX RotaryEmbedding turns it."""
    assert_agrees(rotation.rotated(), rotation.rotated_by_onnx(), tolerance=1e-14)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_rotation_keeps_the_type_and_rounds_once(dtype: DType) -> None:
    """In any type the answer has that type and is ONNX's float64 answer to its resolution."""

    @settings(max_examples=50, deadline=None)
    @given(rotation=rotations(dtype))
    def rounds_once(rotation: Rotation) -> None:
        rotated = rotation.rotated()
        assert rotated.dtype == dtype
        assert_agrees(rotated, rotation.rotated_by_onnx(), tolerance=1e-6)

    rounds_once()


@settings(max_examples=100, deadline=None)
@given(rotation=rotations())
def test_rotation_preserves_the_norm_of_every_head(rotation: Rotation) -> None:
    """A rotation changes the direction of a vector and not its length."""

    def norms(x: Array) -> Array:
        per_head = x if x.ndim == 4 else x.reshape(*x.shape[:2], rotation.heads, -1)
        return np.asarray(np.linalg.norm(per_head, axis=-1))

    np.testing.assert_allclose(norms(rotation.rotated()), norms(rotation.x), rtol=1e-13)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    half=st.integers(1, 4),
    query_position=st.integers(0, 20),
    key_position=st.integers(0, 20),
    shift=st.integers(0, 20),
    interleaved=st.booleans(),
)
def test_scores_depend_on_the_distance_of_positions_only(
    seed: int, half: int, query_position: int, key_position: int, shift: int, interleaved: bool
) -> None:
    """The product of a rotated query and key stays when both move by the same number of positions (RoFormer, 3.2)."""
    cosines, sines = rotary_tables(41, 2 * half)
    query, key = np.random.default_rng(seed).standard_normal((2, 1, 1, 1, 2 * half))

    def score(query_at: int, key_at: int) -> float:
        rotated = (
            rotary_embedding(x, cosines, sines, np.array([[position]]), interleaved=interleaved)
            for x, position in ((query, query_at), (key, key_at))
        )
        return float(np.vdot(*rotated))

    moved = score(query_position + shift, key_position + shift)
    assert moved == pytest.approx(score(query_position, key_position), rel=1e-12, abs=1e-12)


def test_tables_hold_the_angles_of_the_paper() -> None:
    """Position m turns pair i by m · base^(−2i/d): position 0 not at all, the first pair by m radians."""
    cosines, sines = rotary_tables(4, 6, base=100.0)
    assert cosines.shape == sines.shape == (4, 3)
    np.testing.assert_array_equal(cosines[0], 1)
    np.testing.assert_allclose(np.arctan2(sines[:, 0], cosines[:, 0]), [0, 1, 2, 3])
    np.testing.assert_allclose(np.arctan2(sines[1], cosines[1]), [1, 100 ** (-1 / 3), 100 ** (-2 / 3)])


@pytest.mark.parametrize("shape", [(0, 3, 8), (2, 0, 8), (0, 2, 3, 4), (2, 2, 0, 4)])
def test_an_empty_array_is_turned_into_itself(shape: tuple[int, ...]) -> None:
    """No batch rows or no positions are no error."""
    heads, length = (2, shape[1]) if len(shape) == 3 else (0, shape[2])
    table = np.zeros((shape[0], length, 2))
    assert rotary_embedding(np.zeros(shape), table, table, heads=heads).shape == shape


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e38])
def test_what_is_not_finite_is_turned_without_a_warning(number: float) -> None:
    """NaN, infinity and overflow are answers, and go no further than their own head."""
    x = np.ones((1, 2, 1, 2), np.float32)
    x[0, 0] = number
    table = np.full((1, 1, 1), 1e5, np.float32)
    rotated = rotary_embedding(x, table, table)
    assert not np.isfinite(rotated[0, 0]).all()
    assert np.isfinite(rotated[0, 1]).all()


X3, X4, TABLE, IDS = np.zeros((2, 3, 8)), np.zeros((2, 2, 3, 4)), np.zeros((5, 2)), np.zeros((2, 3), np.int64)


@pytest.mark.parametrize(
    ("x", "cosines", "sines", "position_ids", "options", "fields"),
    [
        (X4[0, 0], TABLE, TABLE, IDS, {}, {"x"}),
        (X4.astype(np.int64), TABLE, TABLE, IDS, {}, {"x"}),
        (X4, TABLE.astype(np.int64), TABLE, IDS, {}, {"cosines"}),
        (X3, TABLE, TABLE, IDS, {}, {"heads"}),
        (X3, TABLE, TABLE, IDS, {"heads": 3}, {"heads"}),
        (X3, TABLE, TABLE, IDS, {"heads": -2}, {"heads"}),
        (X4, TABLE, TABLE, IDS, {"heads": 3}, {"heads"}),
        (X4, TABLE[:, :1], TABLE[:, :1], IDS, {"rotary_size": 3}, {"rotary_size"}),
        (X4, TABLE[:, :1], TABLE[:, :1], IDS, {"rotary_size": -2}, {"rotary_size", "cosines", "sines"}),
        (X4, np.zeros((5, 3)), np.zeros((5, 3)), IDS, {"rotary_size": 6}, {"rotary_size"}),
        (X4, TABLE[:, :1], TABLE, IDS, {}, {"cosines"}),
        (X4, TABLE, TABLE[:4], IDS, {}, {"sines"}),
        (X4, np.array(1.0), TABLE, IDS, {}, {"cosines", "sines"}),
        (X4, TABLE, TABLE, None, {}, {"cosines", "sines"}),
        (X4, TABLE, TABLE, IDS[:, :2], {}, {"position_ids"}),
        (X4, TABLE, TABLE, IDS.astype(float), {}, {"position_ids"}),
        (X4, TABLE, TABLE, IDS - 1, {}, {"position_ids"}),
        (X4, TABLE, TABLE, IDS + 5, {}, {"position_ids"}),
    ],
)
def test_wrong_arguments_are_named(
    x: Array, cosines: Array, sines: Array, position_ids: Array | None, options: dict[str, int], fields: set[str]
) -> None:
    """A rotation that has no answer is refused by the names of exactly the wrong arguments."""
    with pytest.raises(InvalidProblemError) as refusal:
        rotary_embedding(x, cosines, sines, position_ids, **options)  # type: ignore[arg-type]
    assert {violation.field for violation in refusal.value.violations} == fields
