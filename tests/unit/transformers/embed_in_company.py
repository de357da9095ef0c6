"""Fails unless the vectors of texts have the same bits alone, in batches, and on threads. Argument: the model."""

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from qkv_server.transformers.files import read_model
from qkv_server.transformers.loading import load
from qkv_server.transformers.stacks.embedding_queue import EmbeddingQueue
from qkv_server.transformers.stacks.encoder_model import EncoderModel

LENGTHS = (1, 2, 3, 5, 5, 5, 16, 17, 31, 32, 32, 64, 100, 130, 256, 512)


def main(path: Path) -> None:
    """Compare."""
    blas = [library for library in threadpool_info() if library["internal_api"] == "openblas"]
    assert [library["architecture"] for library in blas] == ["SkylakeX"], blas
    model = load(read_model(path))
    assert isinstance(model, EncoderModel)
    random = np.random.default_rng(0)
    texts = [random.integers(1000, 20000, length).tolist() for length in LENGTHS]
    alone = np.concatenate([model.embed([text]) for text in texts])
    with ThreadPoolExecutor(2) as executor:
        queue = partial(EmbeddingQueue(model).submit, later=executor.submit, threads=2)
        ways = {
            "together": model.embed(texts),
            "twice": model.embed(texts + texts[::-1])[: len(texts)],
            "on two threads": queue(texts).result(),
            "in calls of their own": np.concatenate([call.result() for call in [queue([text]) for text in texts]]),
        }
    for way, vectors in ways.items():
        differ = [length for length, same in zip(LENGTHS, (vectors == alone).all(axis=1), strict=True) if not same]
        assert not differ, f"{way}, texts of {differ} tokens have other bits than alone"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
