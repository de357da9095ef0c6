"""What transformers computes with a tiny model, read from its folder, in float32 and with attention spelled out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[np.float32]

NEW_TOKENS = 12
LIKELIEST = 3  # whose log-probabilities are told


def states_of_one_stack(model: Any, ids: Sequence[int]) -> dict[str, Array]:
    """hidden_states (layers + 1, L, D), attentions (layers, H, L, L), and logits (L, labels or V) if it has a head."""
    with torch.no_grad():
        output = model(torch.tensor([ids]), output_hidden_states=True, output_attentions=True)
    return _arrays(output, ("hidden_states", "attentions", "logits"))


def states_of_two_stacks(model: Any, ids: Sequence[int], answer: Sequence[int]) -> dict[str, Array]:
    """As `states_of_one_stack`, of a source (S tokens) and the answer to it (T, with the token that starts it).

    encoder_hidden_states (layers + 1, S, D), encoder_attentions (layers, H, S, S), decoder_hidden_states
    (layers + 1, T, D), decoder_attentions (layers, H, T, T), cross_attentions (layers, H, T, S), logits (T, V).
    """
    with torch.no_grad():
        output = model(
            torch.tensor([ids]),
            decoder_input_ids=torch.tensor([answer]),
            output_hidden_states=True,
            output_attentions=True,
        )
    states = [f"{end}_{kind}" for end in ("encoder", "decoder") for kind in ("hidden_states", "attentions")]
    return _arrays(output, (*states, "cross_attentions", "logits"))


def greedy(model: Any, ids: Sequence[int]) -> dict[str, Any]:
    """The greedy answer by `generate`, without the prompt and the token that starts a decoder.

    `margins` are the differences of the two largest logits, null where a token was forced; `log_probabilities` those of
    the tokens in the model's own distribution, `likeliest` the ids and log-probabilities of the likeliest, in order.
    """
    output = model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.int64),
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        max_new_tokens=NEW_TOKENS,
        output_logits=True,
        return_dict_in_generate=True,
    )
    logits = torch.cat(output.logits)  # (T, V)
    tokens = output.sequences[0, -len(logits) :]
    best = logits.topk(LIKELIEST)
    own = logits.log_softmax(-1)
    forced = tokens != best.indices[:, 0]
    return {
        "ids": tokens.tolist(),
        "margins": [
            None if was_forced else round(float(values[0] - values[1]), 4)
            for values, was_forced in zip(best.values, forced, strict=True)
        ],
        "log_probabilities": _rounded(own.gather(1, tokens[:, None])[:, 0]),
        "likeliest": [
            {"ids": row.tolist(), "log_probabilities": _rounded(step[row])}
            for row, step in zip(best.indices, own, strict=True)
        ],
    }


def embedding(hidden_states: Array) -> Array:
    """The first token's vector of the last layer, scaled to length 1: (D,)."""
    first = hidden_states[-1, 0]
    return np.asarray(first / np.linalg.norm(first), np.float32)


def tokenized(tokenizer: Any, texts: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Ids, pieces and offsets in code points of texts, and the texts that the ids make again."""
    for text in texts:
        encoding = tokenizer.backend_tokenizer.encode(text)
        yield {
            "text": text,
            "ids": encoding.ids,
            "pieces": encoding.tokens,
            "offsets": encoding.offsets,
            "special": [bool(flag) for flag in encoding.special_tokens_mask],
            "decoded": tokenizer.backend_tokenizer.decode(encoding.ids),
        }


def _arrays(output: Any, names: Sequence[str]) -> dict[str, Array]:
    """The chosen outputs of the only text of a batch, layers stacked."""
    arrays = {}
    for name in names:
        value = output.get(name)
        if value is not None:
            arrays[name] = torch.cat(value).numpy() if isinstance(value, tuple) else value[0].numpy()
    return arrays


def _rounded(values: torch.Tensor) -> list[float]:
    return [round(float(value), 6) for value in values]
