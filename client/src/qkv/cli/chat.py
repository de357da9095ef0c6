"""Chat with a model: ask one thing, or, without a message on a terminal, talk. Ctrl-C ends an answer, Ctrl-D the chat.

Examples:
  qkv chat "What is attention?" --model smollm2
  qkv chat --model smollm2 --system "Answer in one sentence."

"""

import argparse
import contextlib
import sys

from qkv import CallError, ChatMessage, Client
from qkv.cli import answers, texts

NAME = "chat"
HELP = "chat with a model"
PROMPT = "> "


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument(
        "text",
        nargs="?",
        metavar="MESSAGE",
        help="the message; left out: talk, or, if it is no terminal, standard input",
    )
    parser.add_argument("--system", metavar="TEXT", help="what the model is told before all messages, as how to answer")
    answers.add_arguments(parser)
    answers.add_max_tokens(parser)


def run(client: Client, options: argparse.Namespace) -> int:
    """Print the answer as it comes, or talk until there is no more input."""
    messages: list[ChatMessage] = [] if options.system is None else [{"role": "system", "content": options.system}]
    if options.text is not None or not sys.stdin.isatty():
        _ask(client, messages, texts.text_of(options), options)
        return 0
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401, PLC0415 - it gives `input` a history, where there is one
    try:
        while (said := _said()) is not None:
            if said.strip():
                begun = len(messages)
                try:
                    _ask(client, messages, said, options)
                except KeyboardInterrupt:
                    del messages[begun:]
                except CallError as error:  # what was said before is not lost
                    del messages[begun:]
                    print(f"qkv: {error}", file=sys.stderr)
    finally:
        print()  # what the shell says next begins a line
    return 0


def _said() -> str | None:
    try:
        return input(PROMPT)
    except EOFError:
        return None


def _ask(client: Client, messages: list[ChatMessage], said: str, options: argparse.Namespace) -> None:
    """Add a message and its answer to a chat."""
    messages.append({"role": "user", "content": said})
    call = answers.options_of(options, "model", "max_tokens")
    answer = answers.show(client.chat(messages, **call), options)
    messages.append({"role": "assistant", "content": answer.text})
