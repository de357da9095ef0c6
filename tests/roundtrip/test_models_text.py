"""Models that write over a socket: both clients get what transformers computed, in pieces and however many ask."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import numpy as np
import pytest
from model_serving import GO, Both, Golden
from serving import ServerProcess

import qkv

WRITERS = ("gemma", "gpt2", "llama", "mistral", "qwen2", "qwen3")


@pytest.mark.parametrize("name", WRITERS)
def test_greedy_answers_are_those_of_the_oracle(name: str, ask: Both) -> None:
    """Tokens, log-probabilities and the likeliest beside them are what transformers' greedy search gives."""
    for question in Golden(name).questions:
        greedy = question["greedy"]
        count, likeliest = len(greedy["ids"]), len(greedy["likeliest"][0]["ids"])
        result = ask("generate", question["text"], model=name, max_tokens=count, top_log_probabilities=likeliest)
        clear = next((place for place, margin in enumerate(greedy["margins"]) if margin < 0.05), count)
        assert [each.token.id for each in result.tokens][:clear] == greedy["ids"][:clear]
        told = [each.token.log_probability for each in result.tokens][:clear]
        np.testing.assert_allclose(told, greedy["log_probabilities"][:clear], atol=1e-3)
        for each, expected in zip(result.tokens[:clear], greedy["likeliest"][:clear], strict=True):
            told = [one.log_probability for one in each.likeliest]
            np.testing.assert_allclose(told, expected["log_probabilities"], atol=1e-3)
        assert (result.usage.input_tokens, result.model) == (len(question["input_ids"]), name)
        assert result.usage.output_tokens == len(result.tokens)


def test_pieces_come_one_after_another(model_client: qkv.Client) -> None:
    """An answer of many tokens comes in pieces, which together are its text."""
    with model_client.generate(GO, model="llama", max_tokens=40) as answer:
        pieces = list(answer)
    assert len(pieces) > 1
    assert "".join(pieces) == answer.result.text
    assert answer.result.usage.total_seconds >= answer.result.usage.first_token_seconds > 0


def test_pieces_come_one_after_another_to_asyncio(model_server: ServerProcess) -> None:
    """So they do for asyncio, for each call that is answered in pieces, two answers at a time."""

    async def pieces_of(answer: qkv.AsyncTextStream) -> list[str]:
        async with answer:
            pieces = [piece async for piece in answer]
        assert "".join(pieces) == answer.result.text
        return pieces

    async def ask() -> list[list[str]]:
        async with qkv.AsyncClient(model_server.address) as client:
            options: Any = {"model": "llama", "temperature": 1.5, "seed": 1}
            answers = (
                client.generate(GO, max_tokens=40, **options),
                client.chat([{"role": "user", "content": GO}], max_tokens=40, **options),
                client.summarize(GO, max_tokens=40, **options),
                client.translate(GO, target="pt", **options),
            )
            return await asyncio.gather(*map(pieces_of, answers))

    assert all(len(pieces) > 1 for pieces in asyncio.run(ask()))


def test_a_chat_is_what_its_template_says(ask: Both) -> None:
    """The answer to a chat is the continuation of the text that the template of the model makes of it."""
    messages = [{"role": "user", "content": "Who waits?"}, {"role": "assistant", "content": "A bear."}]
    messages.append({"role": "user", "content": "Where?"})
    written = "".join(f"<|im_start|>{each['role']}\n{each['content']}<|im_end|>\n" for each in messages)
    chat = ask("chat", messages, model="qwen2", max_tokens=8, top_log_probabilities=0)
    prompt = ask("generate", f"{written}<|im_start|>assistant\n", model="qwen2", max_tokens=8, top_log_probabilities=0)
    assert chat.usage.input_tokens == prompt.usage.input_tokens
    assert [each.token.id for each in chat.tokens] == [each.token.id for each in prompt.tokens]
    assert chat.text == prompt.text


def test_equal_seeds_give_equal_answers(ask: Both) -> None:
    """A seed gives the same answer again, also one that the server chose and told; others give others."""

    def drawn(seed: int | None) -> qkv.TextResult:
        result: qkv.TextResult = ask("generate", GO, model="llama", max_tokens=20, temperature=1.5, seed=seed)
        return result

    first = drawn(None)
    assert first.seed is not None
    assert str(drawn(first.seed)) == first.text
    assert len({drawn(seed).text for seed in range(4)} | {drawn(2**64 - 1).text}) == 5
    assert ask("generate", GO, model="llama", max_tokens=2).seed is None


def test_stop_strings_end_an_answer_before_them(ask: Both) -> None:
    """Nothing of a stop string, and nothing after it, is told."""
    whole = ask("generate", GO, model="llama", max_tokens=30)
    assert whole.finish_reason == "length"
    stop = whole.text[len(whole.text) // 2 :][:2]
    cut = ask("generate", GO, model="llama", max_tokens=30, stop=["never to come", stop])
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"


def test_answers_are_no_longer_than_the_context(ask: Both) -> None:
    """Without a bound an answer ends with the context, if the model does not end it."""
    result = ask("generate", GO, model="gpt2")
    assert result.usage.input_tokens + result.usage.output_tokens <= 64
    assert result.finish_reason == "length"


def test_prompts_that_begin_alike_are_read_once(ask: Both) -> None:
    """What an earlier call has read of a prompt is told as cached, and changes nothing in the answer."""
    prompt = "The water turns the old wheel. " * 8
    first = ask("generate", prompt, model="llama", max_tokens=8)
    second = ask("generate", prompt, model="llama", max_tokens=8)
    assert second.usage.cached_tokens > 0
    assert second.usage.input_tokens == first.usage.input_tokens > second.usage.cached_tokens
    assert second.text == first.text


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_nothing_to_rewrite_is_rewritten_as_it_is(text: str, ask: Both) -> None:
    """White space is summarized and translated as itself."""
    for method, options in (("summarize", {}), ("translate", {"target": "pt"})):
        result = ask(method, text, model="llama", **options)
        assert result.text.strip() == ""
        assert (result.finish_reason, result.usage.output_tokens) == ("end", 0)


def test_long_texts_are_rewritten_in_parts(ask: Both) -> None:
    """A text of several times the context is read part by part, and answered as one."""
    text = f"{GO} " * 200
    result = ask("summarize", text, model="llama", max_tokens=3)
    assert result.usage.input_tokens > 512
    assert result.usage.output_tokens % 3 == 0
    assert result.usage.output_tokens >= 6
    assert result.finish_reason == "length"
    translated = ask("translate", "One bear.\n\nTwo bears.", model="llama", source="en", target="de")
    assert "\n\n" in translated.text


def test_many_calls_at_once_are_what_each_is_alone(model_server: ServerProcess) -> None:
    """Streams and embeddings that share the server's steps are answered as they are alone."""
    prompts = [f"{GO} {number}" for number in range(24)]

    async def together() -> tuple[Sequence[qkv.TextResult], Sequence[Any]]:
        async with qkv.AsyncClient(model_server.address) as client:
            reading: list[Coroutine[Any, Any, qkv.TextResult]] = [
                client.generate(prompt, model="llama", max_tokens=12).read() for prompt in prompts
            ]
            embedding = [client.embed([prompt], model="bert") for prompt in prompts]
            return await asyncio.gather(*reading), await asyncio.gather(*embedding)

    answers, vectors = asyncio.run(together())
    with qkv.Client(model_server.address) as client:
        for prompt, answer, vector in zip(prompts, answers, vectors, strict=True):
            assert client.generate(prompt, model="llama", max_tokens=12).read().text == answer.text
            np.testing.assert_allclose(client.embed([prompt], model="bert"), vector, atol=1e-6)


def test_an_answer_that_is_cut_ends_as_its_files_say(ask: Both) -> None:
    """BART's files force an end behind an answer that reaches the most tokens: it has one token of text fewer."""
    cut = ask("generate", GO, model="bart", max_tokens=5, top_log_probabilities=0)
    assert (cut.finish_reason, cut.tokens[-1].token.id) == ("length", 2)
    longer = ask("generate", GO, model="bart", max_tokens=6, top_log_probabilities=0)
    assert [each.token.id for each in longer.tokens[:4]] == [each.token.id for each in cut.tokens[:4]]
    assert longer.tokens[4].token.id != 2
