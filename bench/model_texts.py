"""What the models are asked: sentences of so many tokens, prompts, and sentences to translate, all our own."""

from itertools import cycle, islice, product

import numpy as np

# Each is one token of MiniLM's vocabulary.
WORDS = (
    *("the", "river", "runs", "to", "the", "sea", "and", "a", "bear", "waits", "by", "the", "old", "bridge", "for"),
    *("fish", "that", "come", "up", "every", "spring", "while", "children", "play", "in", "the", "garden", "near"),
    *("the", "market", "where", "people", "sell", "bread", "and", "fruit", "from", "morning", "until", "night"),
)
SPECIAL = 2  # tokens that MiniLM puts around a text

STORY = (
    "Once there was a lighthouse on a cape in the north, and the man who kept it wrote down every ship that passed. "
    "In the evening he lit the lamp, in the morning he put it out, and in between he read the same three books. "
    "One winter a storm broke the window of the lamp room, and the light went out in the middle of the night. "
)

SUBJECTS = ("The teacher", "My brother", "Our neighbor", "The old man", "A young woman", "The doctor", "She", "Nobody")
PREDICATES = (
    "opened the window.",
    "wants to buy a new house near the river.",
    "was reading a long letter.",
    "will come home tomorrow.",
    "lost the keys on the way to the station.",
    "likes bread and cheese.",
    "told the children a story about a bear.",
    "does not know the answer.",
)


def sentences(lengths: list[int]) -> list[str]:
    """A text for each of these numbers of MiniLM's tokens; texts that follow each other are different."""
    return [
        " ".join(islice(cycle(WORDS), number % len(WORDS), number % len(WORDS) + length - SPECIAL))
        for number, length in enumerate(lengths)
    ]


def mixed_lengths(count: int) -> list[int]:
    """Log-normal between 5 and 200 tokens, most of them short, as texts are."""
    drawn = np.random.default_rng(0).lognormal(np.log(30), 0.8, count)
    return [int(length) for length in np.clip(drawn, 5, 200)]


def to_translate() -> list[str]:
    """64 short English sentences, all different."""
    return [f"{subject} {predicate}" for subject, predicate in product(SUBJECTS, PREDICATES)]
