"""What refusals become: short enough for the trailers of gRPC, whatever the caller called things."""

from google.rpc.error_details_pb2 import BadRequest

from qkv import Violation
from qkv_server.service.errors import InvalidRequestError, NoSuchTaskError
from qkv_server.transport.status import status_of

TRAILERS = 8 * 1024  # bytes that gRPC lets all trailers of a call have


def test_what_a_model_can_is_told_after_a_long_wish() -> None:
    """Of a task with a long name the beginning is repeated, so that what the model can do has room."""
    _, status = status_of(NoSuchTaskError("opus", f"translate {'x' * 100_000} to pt", ["translate en to pt"]))
    assert status.message == f"model 'opus' cannot translate {'x' * 90}…; it can translate en to pt"


def test_wrong_fields_with_long_names_have_room() -> None:
    """Many violations, with fields and descriptions of any length, fit, and the last counts those that do not."""
    long = "x" * 100_000
    _, status = status_of(InvalidRequestError([Violation(long, long)] * 100))
    assert status.ByteSize() < TRAILERS / 2  # in base64, beside the message in percent-encoding
    told = BadRequest()
    assert status.details[1].Unpack(told)
    *first, last = told.field_violations
    assert last.description == f"{100 - len(first)} more fields are wrong"
    assert all(each.field.startswith("xxx") for each in first)
