"""The cache of beginnings: which stream is found, and which is let go."""

from collections.abc import Sequence

from qkv_server.transformers.generation.prefix_cache import PrefixCache

from .echo_model import BYTES_PER_TOKEN, EchoStream

CAPACITY = 100
SIZE = CAPACITY * BYTES_PER_TOKEN


def read(ids: Sequence[int]) -> EchoStream:
    return EchoStream(CAPACITY, list(ids))


def cache_of(*kept: Sequence[int], budget: int = 10 * SIZE) -> tuple[PrefixCache[EchoStream], list[EchoStream]]:
    """A cache in which these were kept, the first one first, and their streams."""
    cache: PrefixCache[EchoStream] = PrefixCache(budget)
    streams = [read(ids) for ids in kept]
    for ids, stream in zip(kept, streams, strict=True):
        cache.keep(ids, stream)
    return cache, streams


def test_the_longest_beginning_is_found() -> None:
    """Of all streams the one that shares most with the tokens is found, with how many these are."""
    cache, (_, second, _) = cache_of(range(20), [*range(30), 99], range(100, 150))
    assert cache.longest(range(40)) == (second, 30)


def test_the_last_token_is_always_read() -> None:
    """Of tokens that are all known, one is left, since what follows it was not kept."""
    cache, (stream,) = cache_of(range(50))
    assert cache.longest(range(50)) == (stream, 49)
    assert cache.longest(range(30)) == (stream, 29)


def test_short_beginnings_are_not_worth_it() -> None:
    """A few tokens in common are no match, and streams of a few tokens are not kept."""
    cache, _ = cache_of([*range(10), *range(50, 80)], range(5))
    assert cache.longest(range(40)) is None
    assert cache.nbytes == SIZE


def test_only_what_was_read_is_kept() -> None:
    """A stream that has not read all of its tokens is found for those that it has read."""
    cache: PrefixCache[EchoStream] = PrefixCache(10 * SIZE)
    stream = read(range(20))
    cache.keep(range(21), stream)
    assert cache.longest(range(40)) == (stream, 20)


def test_the_one_not_used_for_longest_goes_first() -> None:
    """Above the budget the stream goes that was neither kept nor found for the longest time."""
    one, two, three = range(20), range(100, 120), range(200, 220)
    cache, (first, _) = cache_of(one, two, budget=2 * SIZE + 1)
    assert cache.longest([*one, 0]) == (first, 20)
    cache.keep(three, read(three))
    assert cache.longest([*two, 0]) is None
    assert cache.longest([*one, 0])
    assert cache.longest([*three, 0])
    assert cache.nbytes == 2 * SIZE


def test_a_beginning_of_another_stream_is_not_kept_twice() -> None:
    """A stream that another one continues goes when that comes, and does not come after it."""
    cache, (_, longer, _) = cache_of(range(20), range(30), range(25))
    assert cache.nbytes == SIZE
    assert cache.longest(range(40)) == (longer, 30)


def test_a_stream_above_the_budget_leaves_the_others() -> None:
    """What would not fit by itself is not kept, and nothing goes for it."""
    cache, (stream,) = cache_of(range(20), budget=SIZE)
    cache.keep(range(100, 180), EchoStream(CAPACITY + 1, list(range(100, 180))))
    assert cache.longest(range(30)) == (stream, 20)
