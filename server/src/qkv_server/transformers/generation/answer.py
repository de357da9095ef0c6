"""The answer of one stream as it grows: which tokens are chosen, what text of them may be told, and when it ends."""

import secrets
from collections.abc import Sequence

import numpy as np

from qkv_server.transformers.generation.constraints import NONE, Forbidden
from qkv_server.transformers.generation.request import FinishReason, GeneratedToken, GenerationRequest, Piece
from qkv_server.transformers.generation.sampling import Logits, Sampler, log_probabilities
from qkv_server.transformers.text.detokenization import Decoder, Detokenizer
from qkv_server.transformers.text.stopping import StopStrings

SEED_BITS = 32  # of seeds that are chosen: short enough to be typed again


class Answer:
    """Takes logits until it has a `reason` to end, and gives what has come of them in pieces.

    Tokens are written as text when a piece is wanted; each at once where there are stop strings to look for.
    """

    def __init__(
        self,
        request: GenerationRequest,
        before: Sequence[int],
        most: int,
        *,
        decoder: Decoder,
        vocabulary_size: int,
        end_ids: frozenset[int],
    ) -> None:
        """It has at most `most` of the first `vocabulary_size` tokens; `before` are those that it continues."""
        self.seed = _seed(request)
        self.ids: list[int] = []
        self.reason: FinishReason | None = None
        self._sampler = Sampler(request.sampling, self.seed, vocabulary_size, before)
        self._forbidden = Forbidden(request.constraints, before, end_ids) if request.constraints != NONE else None
        self._forced_end = request.constraints.forced_end
        self._told_beside = request.top_log_probabilities
        self._most = most
        self._vocabulary_size = vocabulary_size
        self._end_ids = end_ids
        self._writer = Detokenizer(decoder)
        self._stops = StopStrings(request.stop)
        self._looks_for_stops = bool(request.stop)
        self._unwritten: list[int] = []  # tokens
        self._written_out = False  # whether all of its text is written
        self._text = ""  # that was not told
        self._tokens: list[GeneratedToken] = []  # that were not told

    def take(self, logits: Logits, likeliest: int | None = None) -> None:
        """Choose the next token by the logits (V,) of the model, whose largest may be known. Raises NotFiniteError."""
        chosen = self._chosen(logits[: self._vocabulary_size], likeliest)
        cut = chosen not in self._end_ids and len(self.ids) + 1 == self._most
        if cut and self._forced_end is not None:
            chosen = self._forced_end
        self.ids.append(chosen)
        if self._told_beside is not None:
            token, beside = log_probabilities(logits, chosen, self._told_beside)
            self._tokens.append(GeneratedToken(token, tuple(beside)))
        if chosen not in self._end_ids:
            self._unwritten.append(chosen)
        if cut:
            self.reason = FinishReason.LENGTH
        elif chosen in self._end_ids:
            self.reason = FinishReason.END
        if self._looks_for_stops:
            self._write()

    def _chosen(self, logits: Logits, likeliest: int | None) -> int:
        """The sampler's choice among the tokens that are not forbidden."""
        if self._forbidden is None:
            return self._sampler.choose(logits, likeliest)
        if forbidden := self._forbidden.next():
            logits, likeliest = logits.copy(), None
            logits[[token for token in forbidden if token < len(logits)]] = -np.inf
        chosen = self._sampler.choose(logits, likeliest)
        self._forbidden.add(chosen)
        return chosen

    def piece(self) -> Piece:
        """What has come since the last piece and may be told; all of it once there is a `reason`."""
        self._write()
        piece = Piece(self._text, tuple(self._tokens))
        self._text, self._tokens = "", []
        return piece

    def _write(self) -> None:
        """Write the tokens as text, up to a stop string."""
        if self._written_out:
            return
        self._text += self._stops.add(self._writer.add(self._unwritten))
        self._unwritten = []
        if self.reason and not self._stops.stopped:
            self._text += self._stops.add(self._writer.end())
        if self._stops.stopped:
            self.reason = FinishReason.STOP
        if self.reason:
            self._text += self._stops.end()
            self._written_out = True


def _seed(request: GenerationRequest) -> int | None:
    """The seed of an answer with any chance in it: the one that was given, or one that is chosen."""
    if not request.sampling.random:
        return None
    return secrets.randbits(SEED_BITS) if request.seed is None else request.seed
