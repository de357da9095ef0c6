"""Turn texts into vectors: shown in short, with how alike a few texts are, or whole by --save or --json.

Examples:
  qkv embed "I love bears" "Bears are lovely" "The bank is closed" --model minilm
  qkv embed --file sentences.txt --save vectors.npy --model minilm
  qkv embed --json < sentences.txt | jq length

"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from qkv import Client, EmbeddingResult
from qkv._embed import PoolingName
from qkv.cli import arrays, texts
from qkv.cli.tables import counted, table

NAME = "embed"
HELP = "turn texts into vectors"
BATCH = 256  # texts of a call
MOST_COMPARED = 10
LABEL = 24  # characters of a text that stand for it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    texts.add_texts(parser)
    texts.add_model(parser)
    parser.add_argument(
        "--pooling",
        choices=get_args(PoolingName),
        help="how a text's vector is made of its tokens' (default: as the model was made for)",
    )
    parser.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        help="scale vectors to length 1 (default: as the model was made for)",
    )
    parser.add_argument(
        "--refuse-long-texts",
        action="store_true",
        help="fail where a text is longer than the model reads, instead of cutting it",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--save", type=Path, metavar="FILE", help=f"save the vectors, a row for each text: {', '.join(arrays.SUFFIXES)}"
    )
    form.add_argument(
        "--json", action="store_true", help="print the vector of each text, a JSON array on a line of its own"
    )


def run(client: Client, options: argparse.Namespace) -> int:
    """Print or save a vector for each text; of a few texts also print how alike they are."""
    given = texts.texts_of(options)
    if options.save is not None:
        arrays.check_writable(options.save, ("embeddings",))
    results = _embedded(client, given, options)
    embeddings = np.concatenate([result.embeddings for result in results])
    if options.save is not None:
        arrays.write(options.save, {"embeddings": embeddings})
        vectors, numbers = counted(len(embeddings), "vector"), counted(embeddings.shape[1], "number")
        print(f"saved {vectors} of {numbers} to {options.save}")
    elif options.json:
        print("\n".join(json.dumps(vector) for vector in embeddings.tolist()))
    else:
        _show(given, embeddings, results[0].model)
    cut = sum(sum(result.truncated) for result in results)
    if cut:
        texts_cut = f"{cut} of {counted(len(given), 'text')} {'was' if cut == 1 else 'were'}"
        print(f"qkv: {texts_cut} longer than the model reads, and cut", file=sys.stderr)
    return 0


def _embedded(client: Client, given: Sequence[str], options: argparse.Namespace) -> list[EmbeddingResult]:
    results = []
    for begin in range(0, max(len(given), 1), BATCH):
        results.append(
            client.embed_result(
                given[begin : begin + BATCH],
                model=options.model,
                pooling=options.pooling,
                normalize=options.normalize,
                refuse_long_texts=options.refuse_long_texts,
            )
        )
        if len(given) > BATCH and sys.stderr.isatty():
            done = min(begin + BATCH, len(given))
            print(
                f"\r{done} of {len(given)} texts", end="\n" if done == len(given) else "", file=sys.stderr, flush=True
            )
    return results


def _show(given: Sequence[str], embeddings: arrays.Array, model: str) -> None:
    print(f"{model}: {embeddings.dtype} {embeddings.shape}\n{np.array2string(embeddings, threshold=60, precision=6)}")
    if 1 < len(given) <= MOST_COMPARED:
        lengths = np.linalg.norm(embeddings, axis=1)
        alike = embeddings @ embeddings.T / np.outer(lengths, lengths)
        names = [text if len(text) <= LABEL else f"{text[: LABEL - 1]}…" for text in given]
        numbers = [str(place + 1) for place in range(len(given))]
        print(f"\nHow alike they are, by the cosine\n\n{table(alike, names, numbers, decimals=3)}")
