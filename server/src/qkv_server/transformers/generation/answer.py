"""The answer of one stream as it grows: which tokens are chosen, what text of them may be told, and when it ends."""

import secrets
from collections.abc import Sequence

from qkv_server.transformers.generation.request import FinishReason, GeneratedToken, GenerationRequest, Piece
from qkv_server.transformers.generation.sampling import Logits, Sampler, log_probabilities
from qkv_server.transformers.text.detokenization import Decoder, Detokenizer
from qkv_server.transformers.text.stopping import StopStrings

SEED_BITS = 32  # of seeds that are chosen: short enough to be typed again


class Answer:
    """Takes logits and gives pieces, until it has a `reason` to end."""

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
        self.seed = secrets.randbits(SEED_BITS) if request.seed is None else request.seed
        self.ids: list[int] = []
        self.reason: FinishReason | None = None
        self._sampler = Sampler(request.sampling, self.seed, vocabulary_size, before)
        self._likeliest = request.top_log_probabilities
        self._most = most
        self._vocabulary_size = vocabulary_size
        self._end_ids = end_ids
        self._text = Detokenizer(decoder)
        self._stops = StopStrings(request.stop)

    def take(self, logits: Logits) -> Piece:
        """Choose the next token by the logits (V,) of the model. Raises NotFiniteError."""
        chosen = self._sampler.choose(logits[: self._vocabulary_size])
        self.ids.append(chosen)
        tokens: tuple[GeneratedToken, ...] = ()
        if self._likeliest is not None:
            token, likeliest = log_probabilities(logits, chosen, self._likeliest)
            tokens = (GeneratedToken(token, tuple(likeliest)),)
        return Piece(self._told(chosen), tokens)

    def _told(self, chosen: int) -> str:
        """The text that may be told after a token; all of it when that was the last."""
        text = "" if chosen in self._end_ids else self._stops.add(self._text.add(chosen))
        if not self._stops.stopped:
            if chosen in self._end_ids:
                self.reason = FinishReason.END
            elif len(self.ids) == self._most:
                self.reason = FinishReason.LENGTH
            if self.reason:
                text += self._stops.add(self._text.end())
        if self._stops.stopped:
            self.reason = FinishReason.STOP
        return text + self._stops.end() if self.reason else text
