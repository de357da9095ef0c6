"""MLServer with a runtime of one's own, in the process of the server, called by Triton's client over gRPC."""

from peers.kserve import connect

__all__ = ["connect", "serve"]


def serve(port: int) -> None:
    """MLServer's own start, see there."""
    from peers import mlserver_runtime  # noqa: PLC0415 - the client's process must not have it

    mlserver_runtime.serve(port)
