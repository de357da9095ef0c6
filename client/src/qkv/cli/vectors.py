"""Write test vectors: calls with their operands and the answers they must have, in JSON and safetensors files.

They cover every data type and option, gradients, merging, and refusals. Who tests a kernel reads the arrays; who tests
a client sends the requests. A server computes the answers, in float64 whatever the type of a case, and each comes with
the tolerance of its type. The same seed gives the same files. docs/vectors.md has the format, and a reader in Python.

Examples:
  qkv vectors vectors
  qkv vectors vectors --dtype float32 bfloat16 --select '*/causal*' '*/window*' 'refused/*'
  qkv vectors vectors --sizes medium --seed 7
  qkv vectors --list --select '*/gradient*'

"""

import argparse
import itertools
from pathlib import Path

from qkv import Client
from qkv.vectors.answering import vector_of
from qkv.vectors.cases import TYPES, select
from qkv.vectors.sizes import SIZES
from qkv.vectors.writing import prepare, write

NAME = "vectors"
HELP = "write test vectors for kernels and for clients in other languages"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument(
        "folder", nargs="?", type=Path, metavar="DIR", help="new, empty, or with vectors, which are replaced"
    )
    parser.add_argument("--select", nargs="+", default=["*"], metavar="PATTERN", help="names, * stands for anything")
    parser.add_argument(
        "--dtype",
        nargs="+",
        choices=TYPES,
        default=TYPES,
        metavar="TYPE",
        help=f"only these of {', '.join(TYPES)}; matrices and refusals have none",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random numbers (default: %(default)s)")
    parser.add_argument(
        "--sizes", choices=SIZES, default="small", help="of the arrays: 3 MB in all, 46 or 520 (default: small)"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the cases and write nothing")
    parser.add_argument("--force", action="store_true", help="write into a folder that holds something else, too")


def run(client: Client, options: argparse.Namespace) -> int:
    """Write the vectors, with a line for each group of them."""
    if options.folder is None and not options.list:
        raise ValueError("DIR: needed, the folder to write to, before --select and --dtype; or --list")
    if options.seed < 0:
        raise ValueError(f"--seed: is {options.seed}, expected at least 0")
    cases = select(options.select, options.dtype)
    if options.list:
        print("\n".join(case.name for case in cases))
        return 0
    prepare(options.folder, force=options.force)
    vectors = (vector_of(client, case, SIZES[options.sizes], options.seed) for case in cases)
    written = write(options.folder, vectors, seed=options.seed)
    for group, of_group in itertools.groupby(written, lambda vector: vector.name.partition("/")[0]):
        print(f"{group}: {sum(1 for _ in of_group)} cases", flush=True)
    size = sum(file.stat().st_size for file in options.folder.rglob("*") if file.is_file())
    print(f"wrote {len(cases)} cases, {size / 1e6:.1f} MB, to {options.folder}")
    return 0
