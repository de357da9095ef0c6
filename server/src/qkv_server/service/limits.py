"""What the server admits, decided from sizes before anything is allocated."""

from dataclasses import dataclass

from qkv_server.service.errors import TooLargeError


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes that one call may take: its messages on the wire, and everything while it is computed."""

    message_bytes: int = 256 * 2**20
    working_bytes: int = 4 * 2**30

    def admit(self, *, answer: int, working: int) -> None:
        """Raise TooLargeError if the bytes of the answer, or those needed to compute it, are above the limits."""
        for what, needed, limit in (
            ("the answer", answer, self.message_bytes),
            ("computing the answer", working, self.working_bytes),
        ):
            if needed > limit:
                raise TooLargeError(what, needed, limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """What whole models may take."""

    weight_bytes: int = 8 * 2**30  # of all models that are in memory together
    streams: int = 64  # answers that a model works on at once
    stream_bytes: int = 4 * 2**30  # that these may take, each at its longest
    stream_queue: int = 256  # answers that may wait for that, for each model
    answer_tokens: int = 4096  # the most tokens of an answer
    cache_bytes: int = 2**30  # keys and values that a model keeps of earlier prompts
