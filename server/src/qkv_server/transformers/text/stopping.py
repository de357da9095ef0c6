"""Stop strings: where an answer ends, and how much of it may be told before that is known."""

from collections.abc import Sequence


class StopStrings:
    """Looks for stop strings in a text that comes in pieces, and lets through what is before them.

    The stop string that is complete first ends the text; of several that are complete with the same character, the
    longest. So it does not matter how the text is cut in pieces.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """`stops` are not empty each."""
        self._stops = tuple(stops)
        self._held = ""  # the beginning of a stop string, perhaps
        self.stopped = False

    def add(self, piece: str) -> str:
        """The text that is certainly before any stop string; nothing comes once `stopped` is set."""
        if self.stopped:
            return ""
        text = self._held + piece
        found = [(begin + len(stop), begin) for stop in self._stops if (begin := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)[1]]
        held = self._beginning_of_stop(text)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def end(self) -> str:
        """What was held back, when no more text comes."""
        held, self._held = self._held, ""
        return held

    def _beginning_of_stop(self, text: str) -> int:
        """The most characters at the end of the text with which a stop string begins."""
        longest = min(len(text), max(map(len, self._stops), default=0))
        return next((size for size in range(longest, 0, -1) if text.endswith(tuple(s[:size] for s in self._stops))), 0)
