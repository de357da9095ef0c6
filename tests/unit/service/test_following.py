"""What is made of results that are not there yet."""

from concurrent.futures import CancelledError, Future

import pytest

from qkv_server.service.following import followed


def test_it_is_made_when_the_result_is_there() -> None:
    """What follows a result waits for it, and is made of it, also where it was there before."""
    number: Future[int] = Future()
    text = followed(number, str)
    assert not text.done()
    number.set_result(7)
    assert text.result(0) == "7"
    assert followed(number, str).result(0) == "7"


def test_it_fails_as_the_result_or_the_making_does() -> None:
    """An error of either is that of what follows."""
    failed, zero = Future[int](), Future[int]()
    after_failed, after_zero = followed(failed, str), followed(zero, lambda number: 1 // number)
    failed.set_exception(KeyError("no"))
    zero.set_result(0)
    assert isinstance(after_failed.exception(0), KeyError)
    assert isinstance(after_zero.exception(0), ZeroDivisionError)


def test_nothing_is_made_of_what_nobody_wants() -> None:
    """What was cancelled is not made when the result comes, and what follows a cancelled result ends with it."""
    number: Future[int] = Future()
    made: list[int] = []
    followed(number, made.append).cancel()
    number.set_result(7)
    assert not made
    given_up: Future[int] = Future()
    after = followed(given_up, str)
    given_up.cancel()
    with pytest.raises(CancelledError):
        after.result(0)
