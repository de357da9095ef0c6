"""Hundreds of malformed requests over a socket: every one is refused by the name of what is wrong with it."""

from collections import Counter
from collections.abc import Callable

import pytest
from refusals import Attend, assert_invalid, assert_still_answers, refusal_of
from roundtrip.malformed import Malformed, base, matrices, operand_table
from roundtrip.malformed_options import option_table, rank_4
from roundtrip.malformed_positions import SCALINGS, packed, position_table, positional, scaled

from qkv.v1.attention_pb2 import AttentionRequest

TABLE = (*operand_table(), *option_table(), *position_table())


def test_the_table_is_large() -> None:
    """There are at least 200 kinds of malformed requests, each with a name and bytes of its own."""
    assert len(TABLE) >= 200
    assert Counter(case.name for case in TABLE).most_common(1)[0][1] == 1
    payloads = Counter(case.request.SerializeToString(deterministic=True) for case in TABLE)
    assert payloads.most_common(1)[0][1] == 1


@pytest.mark.parametrize("start", [base, matrices, rank_4, positional, packed], ids=lambda start: start.__name__)
def test_what_is_mutated_was_valid(start: Callable[[], AttentionRequest], attend: Attend) -> None:
    """The requests that the table breaks are answered as they stand."""
    assert attend(start()).HasField("output")


@pytest.mark.parametrize("kind", SCALINGS)
def test_what_is_mutated_was_a_valid_scaling(kind: str, attend: Attend) -> None:
    """So are those with a scaling."""
    assert attend(scaled(kind)).HasField("output")


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_is_refused_by_the_name_of_what_is_wrong(case: Malformed, attend: Attend) -> None:
    """INVALID_ARGUMENT, ErrorInfo and a BadRequest that names the wrong fields and no other; the next call works."""
    refusal = refusal_of(lambda: attend(case.request))
    assert_invalid(refusal)
    assert sorted(refusal.fields) == sorted(case.fields)
    assert_still_answers(attend)
