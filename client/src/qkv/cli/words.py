"""Words and their embeddings for the walk-through of self-attention."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# The three words of the classic walk-through, in the numbers it gives them.
CLASSIC = {
    "I": (0.5, 0.8, 0.2, 0.6),
    "love": (0.7, 0.1, 0.9, 0.3),
    "bears": (0.4, 0.6, 0.3, 0.8),
}


def embed(sentence: str, file: Path | None) -> tuple[list[str], Array, list[str]]:
    """The words, their embeddings (words, features), and which words had none and got made-up numbers.

    Embeddings come from a JSON file, {"word": [numbers]}, or are the classic ones. A word without one gets numbers
    between 0.1 and 0.9 drawn by a generator that the word itself seeds, so that they are the same every time.
    """
    words = sentence.split()
    if not words:
        raise ValueError("sentence: has no words, expected at least one")
    known = _read(file) if file is not None else CLASSIC
    sizes = {len(numbers) for numbers in known.values()}
    if len(sizes) != 1:
        raise ValueError(f"{file}: has {sorted(sizes)} numbers for a word, expected as many for every word")
    (size,) = sizes
    made_up = [word for word in dict.fromkeys(words) if word not in known]
    return words, np.array([known.get(word) or _made_up(word, size) for word in words], dtype=np.float64), made_up


def _made_up(word: str, size: int) -> list[float]:
    generator = np.random.default_rng(list(word.encode()))
    return [number / 10 for number in generator.integers(1, 10, size).tolist()]


def _read(file: Path) -> dict[str, list[float]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: is no JSON ({error})") from error
    if not isinstance(content, dict) or not all(_is_numbers(value) for value in content.values()) or not content:
        raise ValueError(f'{file}: expected {{"word": [numbers], …}}')
    return content


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(type(number) in (int, float) for number in value)
