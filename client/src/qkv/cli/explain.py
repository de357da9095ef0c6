"""Show self-attention step by step on a sentence, computed by the server.

The default is the classic walk-through, "I love bears": the words as numbers, X; the scores X·Xᵀ; the attention
weights, a softmax over axis 0; the new embeddings; then the same through a multi-head call. With --model, the tokens of
a real model instead, and their attention in one head.

Examples:
  qkv explain
  qkv explain "The bear sat by the river because it was tired" --model minilm --layer 0 --head 3 --plot bear.png

"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from qkv import AttentionResult, Client
from qkv.cli import model_attention, plot
from qkv.cli.tables import table
from qkv.cli.words import Array, embed

NAME = "explain"
HELP = "show self-attention step by step on a sentence"
HEADS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument(
        "sentence", nargs="?", default="I love bears", help="words parted by spaces, or a text (default: %(default)s)"
    )
    words = parser.add_argument_group("the walk-through")
    words.add_argument(
        "--embeddings",
        type=Path,
        metavar="JSON",
        help='numbers for each word, {"word": [0.1, …]} (default: the classic)',
    )
    words.add_argument("--heads", type=int, metavar="H", help=f"heads of the multi-head call (default: {HEADS})")
    of_model = parser.add_argument_group("a real model")
    of_model.add_argument(
        "--model", metavar="NAME", help="show the attention of this model of the server, instead of the walk-through"
    )
    of_model.add_argument("--layer", type=int, metavar="N", help="from 0, or -1 for the last (default: 0)")
    of_model.add_argument("--head", type=int, metavar="N", help="from 0 (default: 0)")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw what is shown as heat maps")


def run(client: Client, options: argparse.Namespace) -> int:
    """Print the walk-through, each step with the numbers that the server computed."""
    if options.model is not None:
        if (options.embeddings, options.heads) != (None, None):
            raise ValueError("--embeddings and --heads: are those of the walk-through, expected without --model NAME")
        return model_attention.run(client, options)
    if (options.layer, options.head) != (None, None):
        raise ValueError("--layer and --head: are those of a model, expected --model NAME, too")
    words, x, made_up = embed(options.sentence, options.embeddings)
    heads = HEADS if options.heads is None else options.heads
    if heads < 1 or x.shape[1] % heads:
        raise ValueError(f"--heads: is {heads}, expected a divisor of {x.shape[1]}, the numbers of each word")
    features = [f"x{position + 1}" for position in range(x.shape[1])]
    size = f"{len(words)}×{len(features)}"

    over_queries, first = _timed(
        lambda: client.attention(x, scale=1, softmax_axis="queries", outputs=["scores", "weights"])
    )
    scores, weights = _given(over_queries.scores), _given(over_queries.weights)
    over_keys, second = _timed(lambda: client.attention(x, scale=1))
    several, third = _timed(lambda: client.multi_head_attention(x, heads=heads, scale=1, outputs=["weights"]))

    print(f'Self-attention on "{" ".join(words)}", computed by {client.target}\n')
    if made_up:
        print(f"No embedding is known for {', '.join(made_up)}: the numbers are made up, drawn from each word.\n")
    print(f"1. Matrix X ({size}): each word as {len(features)} numbers\n")
    print(table(x, words, features))

    print("\n2. Scores X·Xᵀ: how alike each two words are\n")
    print(table(scores, words, words))
    print("\n3. Attention weights, softmax of the scores over axis 0: each column sums to 1\n")
    print(table(np.vstack((weights, weights.sum(axis=0))), [*words, "sum"], words))

    print("\n4. New embeddings: every word as a mixture of all words\n")
    print(table(over_keys.output, words, features))
    difference = np.abs(weights.T @ x - over_keys.output).max()
    print("\n   This is softmax(X·Xᵀ)·X, each row of weights summing to 1. The scores are symmetric, so the transposed")
    print(f"   weights of step 3 times X are the same: the two differ by {difference:.0e} at most.")

    per_head = len(features) // heads
    print(f"\n5. The same with {heads} heads, each on {per_head} of the {len(features)} numbers: rows sum to 1\n")
    for head, head_weights in enumerate(_given(several.weights)):
        own = f"{features[head * per_head]} to {features[(head + 1) * per_head - 1]}"
        print(f"   Weights of head {head + 1}, on {own}\n")
        print(table(head_weights, words, words), end="\n\n")
    print("   New embeddings, the heads side by side\n")
    print(table(several.output, words, features))

    print("\nThe calls, with the network and without:")
    for name, seconds, result in (
        ("scores and weights over axis 0", first, over_queries),
        ("new embeddings", second, over_keys),
        (f"{heads} heads", third, several),
    ):
        print(f"  {name:<31} {seconds * 1e3:6.2f} ms, of which arithmetic {result.report.compute_seconds * 1e3:.2f} ms")
    if options.plot is not None:
        plot.heat_maps(
            options.plot,
            {
                "Scores X·Xᵀ": (scores, words, words),
                "Weights, softmax over axis 0": (weights, words, words),
                "New embeddings": (over_keys.output, words, features),
            },
        )
        print(f"\nHeat maps are in {options.plot}.")
    return 0


def _timed(call: Callable[[], AttentionResult]) -> tuple[AttentionResult, float]:
    """The result of a call, and how many seconds it took."""
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def _given(array: Array | None) -> Array:
    """A quantity that was asked for, which every server returns."""
    if array is None:
        raise ValueError("the server did not return a quantity that was asked for")
    return array
