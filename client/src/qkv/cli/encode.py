"""Show what a model computes of a text: hidden states and attention maps of its layers, and labels of its tokens.

Examples:
  qkv encode "I love bears" --model minilm
  qkv encode "I love bears" --model minilm --attentions 0 -1 --heads 3
  qkv encode "I love bears" --model minilm --hidden-states --attentions --save everything.npz
  qkv encode "Ada lives in Rome" --model MODEL --labels --json

--hidden-states and --attentions without numbers take every layer. Saved arrays are called token_ids (L,),
hidden_states.N (L, D) and attentions.N (heads, L, L). `qkv explain --model` draws an attention map.

"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from qkv import Client, EncodeResult
from qkv.cli import arrays, texts
from qkv.cli.tables import counted, table
from qkv.cli.token_table import token_table

NAME = "encode"
HELP = "show hidden states, attention maps and labels of a text's tokens"
LAST = -1
MOST_MAPS = 12  # that are printed as tables; of more only the corners are
DECIMALS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    texts.add_text(parser, "text")
    texts.add_model(parser)
    asked = parser.add_argument_group("what is asked", "the hidden states of the last layer, unless something is said")
    asked.add_argument(
        "--hidden-states",
        type=int,
        nargs="*",
        metavar="N",
        help="of these layers: 0 is the embedding, 1 what comes after the first layer, -1 the last (none said: all)",
    )
    asked.add_argument(
        "--attentions",
        type=int,
        nargs="*",
        metavar="N",
        help="the attention maps of these layers: 0 is the first, -1 the last (none said: all)",
    )
    asked.add_argument(
        "--heads", type=int, nargs="+", default=(), metavar="N", help="only the attention maps of these heads, from 0"
    )
    asked.add_argument("--labels", action="store_true", help="a label for each token, of a model that has them")
    parser.add_argument(
        "--refuse-long-text",
        action="store_true",
        help="fail if the text is longer than the model reads, instead of cutting it",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--save", type=Path, metavar="FILE", help=f"save the arrays by their names: {', '.join(arrays.OF_SEVERAL)}"
    )
    form.add_argument("--json", action="store_true", help="print everything as JSON, layers by their numbers")


def run(client: Client, options: argparse.Namespace) -> int:
    """Print or save what the model computes."""
    if (options.hidden_states, options.attentions, options.labels) == (None, None, False):
        options.hidden_states = [LAST]
    if options.heads and options.attentions is None:
        raise ValueError("--heads: are those of attention maps, expected --attentions, too")
    if options.save is not None:
        if options.labels:
            raise ValueError("--save: holds arrays, expected --json with --labels")
        asked = [name for name in ("hidden_states", "attentions") if getattr(options, name) is not None]
        arrays.check_writable(options.save, ("token_ids", *asked))
    text = texts.text_of(options)
    result = client.encode(
        text,
        model=options.model,
        hidden_states=_layers(options.hidden_states),
        attentions=_layers(options.attentions),
        heads=options.heads,
        labels=options.labels,
        refuse_long_text=options.refuse_long_text,
    )
    if options.save is not None:
        saved = _arrays(result)
        arrays.write(options.save, saved)
        print(f"saved {', '.join(saved)} to {options.save}")
    elif options.json:
        print(json.dumps(_facts(result), ensure_ascii=False))
    else:
        _show(text, result, options.heads)
    if result.truncated:
        print("qkv: the text was longer than the model reads, and cut", file=sys.stderr)
    return 0


def _layers(asked: Sequence[int] | None) -> bool | Sequence[int]:
    """Layers as the client takes them: none, all, or by their numbers."""
    return asked or asked is not None


def _arrays(result: EncodeResult) -> dict[str, arrays.Array]:
    return {
        "token_ids": np.array([token.id for token in result.tokens], np.int32),
        **{f"hidden_states.{layer}": states for layer, states in result.hidden_states.items()},
        **{f"attentions.{layer}": maps for layer, maps in result.attentions.items()},
    }


def _facts(result: EncodeResult) -> dict[str, object]:
    """The result, as JSON has it."""
    return {
        "model": result.model,
        "truncated": result.truncated,
        "tokens": [asdict(token) for token in result.tokens],
        "labels": [asdict(label) for label in result.labels],
        "hidden_states": {layer: states.tolist() for layer, states in result.hidden_states.items()},
        "attentions": {layer: maps.tolist() for layer, maps in result.attentions.items()},
    }


def _show(text: str, result: EncodeResult, heads: Sequence[int]) -> None:
    print(f"{result.model}: {counted(len(result.tokens), 'token')}\n{token_table(text, result.tokens, result.labels)}")
    for layer, states in result.hidden_states.items():
        print(f"\nHidden states {f'after layer {layer}' if layer else 'of the embedding'}: {_in_short(states)}")
    in_tables = sum(map(len, result.attentions.values())) <= MOST_MAPS
    pieces = [token.piece for token in result.tokens]
    for layer, maps in result.attentions.items():
        if in_tables:
            for head, weights in zip(heads or range(len(maps)), maps, strict=True):
                print(f"\nAttention in layer {layer}, head {head}\n")
                print(table(weights, pieces, pieces, decimals=DECIMALS))
        else:
            print(f"\nAttention in layer {layer}: {_in_short(maps)}")


def _in_short(array: arrays.Array) -> str:
    return f"{array.dtype} {array.shape}\n{np.array2string(array, threshold=60, precision=6)}"
