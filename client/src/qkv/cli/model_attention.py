"""The walk-through of a real model: the tokens of a sentence, and how they attend to each other in one head."""

import argparse

from qkv import Client
from qkv.cli import plot
from qkv.cli.tables import table

DECIMALS = 3


def run(client: Client, options: argparse.Namespace) -> int:
    """Print the attention map of one head as a table, and draw it if asked to."""
    head = options.head or 0
    result = client.encode(
        options.sentence, model=options.model, attentions=[options.layer or 0], heads=[head], refuse_long_text=True
    )
    ((layer, attentions),) = result.attentions.items()
    (weights,) = attentions
    pieces = [token.piece for token in result.tokens]
    print(f'Attention in layer {layer}, head {head} of {result.model} on "{options.sentence}"\n')
    print("Each row is a token, and how much it takes from every token: rows sum to 1\n")
    print(table(weights, pieces, pieces, decimals=DECIMALS))
    print("\nWhat each token attends to most\n")
    width = max(map(len, pieces))
    for piece, row in zip(pieces, weights, strict=True):
        most = int(row.argmax())
        print(f"  {piece:<{width}}  {pieces[most]} ({row[most]:.{DECIMALS}f})")
    if options.plot is not None:
        plot.heat_maps(options.plot, {f"Layer {layer}, head {head}": (weights, pieces, pieces)})
        print(f"\nThe heat map is in {options.plot}.")
    return 0
