"""Whole models over gRPC: what callers get who come at once, each with a connection of its own, from one server.

The server is a process of its own on two workers. Callers that embed ask again as soon as they are answered; the others
ask once a round. Figures are medians of several rounds. Run it with `make bench-served`; nothing else should run on the
machine.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import TypeVar

import numpy as np
from model_texts import STORY, sentences, to_translate
from peers.ends import free_port
from systems import BENCH, THREADS

import qkv

ROUNDS = 5
SECONDS = 2.0  # of a round of callers that ask again and again
CALLERS = (1, 8, 32)
STREAMS = (1, 8, 16)
TEXT_TOKENS, ANSWER_TOKENS = 32, 64
MODELS = BENCH.parent / "models"
START_SECONDS = 60.0

Clients = Sequence[qkv.AsyncClient]
T = TypeVar("T")


def main() -> int:
    """Start a server, measure, print a line for each figure."""
    with serving() as address:
        return asyncio.run(_measure(address))


@contextmanager
def serving() -> Iterator[str]:
    """A server of the packaged models: its address, once it has them."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "qkv_server", "serve", "--address", address, "--workers", str(THREADS)]
    process = subprocess.Popen([*command, "--models", str(MODELS), "--log-level", "warning"])  # noqa: S603 - our own
    try:
        with qkv.Client(address, timeout=START_SECONDS) as client:
            end = time.monotonic() + START_SECONDS
            while not {"minilm", "smollm2", "enpt"} <= {model.name for model in _ready(client)}:
                if process.poll() is not None or time.monotonic() > end:
                    sys.exit("the models are not served: `make models` installs them")
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


def _ready(client: qkv.Client) -> list[qkv.Model]:
    return [model for model in client.models(wait_for_ready=True) if model.state == "ready"]


async def _measure(address: str) -> int:
    async with AsyncExitStack() as stack:
        most = max(*CALLERS, *STREAMS)
        clients = [await stack.enter_async_context(qkv.AsyncClient(address)) for _ in range(most)]
        for callers in CALLERS:
            print(f"embed, {callers} at once: {await _embed(clients[:callers])}", flush=True)
        for streams in STREAMS:
            print(f"generate, {streams} at once: {await _generate(clients[:streams])}", flush=True)
        texts = to_translate()
        for calls, asked in (("one call", ["\n".join(texts)]), (f"{len(texts)} calls", texts)):
            print(f"translate {len(texts)}, {calls}: {await _translate(clients, asked)}", flush=True)
    return 0


async def _embed(clients: Clients) -> str:
    """Each caller embeds a text of its own, again and again."""
    texts = sentences([TEXT_TOKENS] * len(clients))
    rates, took = [], []

    end = 0.0

    async def ask(client: qkv.AsyncClient, text: str) -> int:
        count = 0
        while (begin := time.perf_counter()) < end:
            await client.embed([text], model="minilm")
            took.append(time.perf_counter() - begin)
            count += 1
        return count

    for _ in range(ROUNDS):
        begin = time.perf_counter()
        end = begin + SECONDS
        counts = await _together(ask, clients, texts)
        rates.append(sum(counts) / (time.perf_counter() - begin))
    median, late = (1000 * np.quantile(took, which) for which in (0.5, 0.95))
    return f"{np.median(rates):.0f} sentences/s, median {median:.1f} ms, 95% within {late:.1f} ms"


async def _generate(clients: Clients) -> str:
    """Each caller gets an answer of as many tokens to a prompt of its own."""
    prompts = [f"{number + 1}. {STORY}" for number in range(len(clients))]
    rates, firsts = [], []

    async def ask(client: qkv.AsyncClient, prompt: str) -> int:
        begin = time.perf_counter()
        async with client.generate(prompt, model="smollm2", max_tokens=ANSWER_TOKENS) as answer:
            await anext(answer)
            firsts.append(time.perf_counter() - begin)
            await answer.read()
        return answer.result.usage.output_tokens

    for _ in range(ROUNDS):
        begin = time.perf_counter()
        tokens = await _together(ask, clients, prompts)
        rates.append(sum(tokens) / (time.perf_counter() - begin))
    return f"{np.median(rates):.0f} tok/s, prompts read included; first text after {1000 * np.median(firsts):.0f} ms"


async def _translate(clients: Clients, texts: Sequence[str]) -> str:
    """The texts at once."""
    rates = []

    async def ask(client: qkv.AsyncClient, text: str) -> None:
        await client.translate(text, model="enpt").read()

    for _ in range(ROUNDS):
        begin = time.perf_counter()
        await _together(ask, [clients[number % len(clients)] for number in range(len(texts))], texts)
        rates.append(len(to_translate()) / (time.perf_counter() - begin))
    return f"{np.median(rates):.0f} sentences/s"


async def _together(
    ask: Callable[[qkv.AsyncClient, str], Awaitable[T]], clients: Clients, texts: Sequence[str]
) -> list[T]:
    return await asyncio.gather(*map(ask, clients, texts))


if __name__ == "__main__":
    sys.exit(main())
