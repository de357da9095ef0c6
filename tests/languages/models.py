"""Whole models in every language: what its example asks and has to print, which is what Python's client is answered."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from model_serving import TINY_MODELS, serving_models
from serving import ServerProcess

import qkv
from qkv_server.packaged_models import packaged_model

TEXTS = ["I love bears", "Bears are adorable"]
QUESTION = "What do bears eat?"
MAX_TOKENS = 40
TOLERANCE = 1e-6
PACKAGED, TINY = ("minilm", "smollm2"), ("bert", "llama")  # one that embeds, and one that chats


@contextmanager
def server_of_models() -> Iterator[ServerProcess]:
    """A server of two models: packaged ones if these are installed, else tiny ones."""
    packaged = {name: path for name in PACKAGED if (path := packaged_model(name)) is not None}
    models = packaged if len(packaged) == len(PACKAGED) else {name: TINY_MODELS / name for name in TINY}
    with tempfile.TemporaryDirectory() as folder:
        for name, path in models.items():
            (Path(folder) / name).symlink_to(path)
        with serving_models(Path(folder)) as server:
            yield server


@dataclass(frozen=True, eq=False)
class Answers:
    """What the Python client was answered: float32 (texts, D), and a text."""

    embeddings: npt.NDArray[Any]
    text: str
    models: tuple[str, str]  # that made them

    @classmethod
    def of(cls, address: str) -> Self:
        """Ask a server."""
        with qkv.Client(address) as client:
            vectors = client.embed_result(TEXTS)
            answer = client.chat([{"role": "user", "content": QUESTION}], max_tokens=MAX_TOKENS).read()
        return cls(vectors.embeddings, answer.text, (vectors.model, answer.model))

    def differences(self, said: str) -> Iterator[str]:
        """Where an example printed something else: the vectors in a line, the text between the question and a line."""
        line = re.search(r"^vectors: (.*)$", said, re.MULTILINE)
        vectors = np.array(re.sub(r"[\[\],]", " ", line[1]).split() if line else [], np.float64)
        if vectors.size != self.embeddings.size:
            yield f"{vectors.size} numbers after `vectors: `, expected {self.embeddings.size}"
        elif not (error := np.abs(vectors - self.embeddings.ravel()).max()) <= TOLERANCE:  # NaN is no match
            yield f"the vectors differ by {error:.1e} from the Python client's, expected at most {TOLERANCE:.0e}"
        text = said.partition(f"\n{QUESTION}\n")[2].removesuffix("\n").rpartition("\n")[0]
        if text != self.text:
            yield f"the answer is {text!r}, expected {self.text!r} as the Python client has it"
