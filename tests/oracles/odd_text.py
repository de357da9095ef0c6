"""Texts that tokenizers are apt to read otherwise: scripts, signs, spaces, digits, emoji, in odd order."""

import random

from oracles.tiny_text import CORPUS, QUESTIONS, TOKENIZED

NUMBER = 300
# Of Unicode's code points, in blocks that no mark begins that would belong to the character before.
BLOCKS = (
    *((0x20, 0x7E),) * 4, (0x09, 0x0D), (0x20, 0x20), (0xA0, 0x17F), (0x391, 0x3C9), (0x400, 0x45F), (0x5D0, 0x5EA),
    (0x621, 0x64A), (0x905, 0x939), (0xE01, 0xE30), (0x1100, 0x1112), (0x1E00, 0x1EFF), (0x2000, 0x206F),
    (0x2070, 0x209C), (0x2100, 0x218B), (0x2460, 0x24FF), (0x2581, 0x2581), (0x3000, 0x3029), (0x3041, 0x30FF),
    (0x3300, 0x33FF), (0x4E00, 0x4EFF), (0xAC00, 0xAD00), (0xF900, 0xFA6D), (0xFB00, 0xFB06), (0xFF01, 0xFFEF),
    (0x1D400, 0x1D454), (0x1F1E6, 0x1F1FF), (0x1F300, 0x1F3FA), (0x1F600, 0x1F64F),
)  # fmt: skip
MARKED = (
    "e\u0301",
    "A\u030a",
    "n\u0303o",
    "q\u0323\u0307",
    "한글",
    "👩‍👩‍👧‍👦",
    "🇵🇹🇧🇷",
    "👍🏽",
    "\u200bx\u200d",
    "\ufeffa",
)
SPACES = ("", "   ", "▁", "▁ ▁a", "  a", "a  ", "\u3000a\u3000\u3000b", "a\nb\r\nc\t d", "x" * 50)


def odd_texts() -> list[str]:
    """The same texts each time."""
    chance = random.Random(0)  # noqa: S311 - no secret
    words = [word for sentence in CORPUS for word in sentence.split()]

    def part() -> str:
        first, last = chance.choice(BLOCKS)
        signs = "".join(chr(chance.randint(first, last)) for _ in range(chance.randint(1, 4)))
        return signs + chance.choice((" ", "  ", chance.choice(words), chance.choice(MARKED)))

    mixed = ["".join(part() for _ in range(chance.randint(1, 6))) for _ in range(NUMBER)]
    return [*CORPUS, *QUESTIONS, *TOKENIZED, *MARKED, *SPACES, *mixed]
