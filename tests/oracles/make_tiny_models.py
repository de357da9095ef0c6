"""Make tests/goldens/tiny_models: small models with random weights, and what transformers computes with them.

Run `PYTHONPATH=tests python -m oracles.make_tiny_models` in an environment with tests/oracles/requirements.txt.
Each model is a folder as models are published; the goldens beside its files were computed from the files themselves.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers  # type: ignore[import-not-found]  # only in the environment of the oracles
from oracles.tiny_decoders import decoders
from oracles.tiny_encoder_decoders import encoder_decoders
from oracles.tiny_encoders import encoders
from oracles.tiny_gguf import write_gguf
from oracles.tiny_goldens import Array, embedding, greedy, states_of_one_stack, states_of_two_stacks, tokenized
from oracles.tiny_model import CAUSAL, LABELS, MASKED, SEQUENCE_TO_SEQUENCE, Tiny
from oracles.tiny_text import CHAT, QUESTIONS, TOKENIZED
from oracles.tiny_weights import draw_weights

FOLDER = Path(__file__).parent.parent / "goldens" / "tiny_models"
CLEAR = 0.06  # the least margin of a greedy token
VARIED = 4  # different tokens in an answer, at the least
MOST_SEEDS = 1000  # that are tried
READ_LENGTH = 16  # tokens that the sentence model reads of a text


def main(names: list[str]) -> None:
    """Make the models of these names, or all."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for tiny in (*encoders(), *decoders(), *encoder_decoders()):
        if not names or tiny.name in names:
            seed = next(seed for seed in range(MOST_SEEDS) if _made(tiny, FOLDER / tiny.name, seed))
            size = sum(file.stat().st_size for file in (FOLDER / tiny.name).rglob("*") if file.is_file())
            print(f"{tiny.name}: seed {seed}, {size / 1e3:.0f} kB", flush=True)  # noqa: T201


def _made(tiny: Tiny, folder: Path, seed: int) -> bool:
    """Whether a seed gave a model whose answers are clear; then it and its goldens are in the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer = _write_model(tiny, folder, seed)
    model = getattr(transformers, tiny.task).from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    if not _goldens_made(tiny, model.eval(), tokenizer, folder):
        return False
    return tiny.name != "llama" or _gguf_made(tiny, model, tokenizer, folder)


def _gguf_made(tiny: Tiny, model: Any, tokenizer: Any, source: Path) -> bool:
    """Whether the answers are clear of the same model as GGUF, too, some of whose weights are quantized."""
    folder = source.with_name(f"{tiny.name}-gguf")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    config = json.loads((source / "config.json").read_text())
    weights = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}
    held = write_gguf(folder / f"{tiny.name}.gguf", config, weights, source / "tokenizer.json")
    model.load_state_dict({name: torch.from_numpy(values) for name, values in held.items()}, strict=False)
    return _goldens_made(tiny, model, tokenizer, folder)


def _goldens_made(tiny: Tiny, model: Any, tokenizer: Any, folder: Path) -> bool:
    """Whether the answers of a model are clear; then its goldens are in the folder."""
    arrays: dict[str, Array] = {}
    questions: list[dict[str, Any]] = []
    for number, (text, content) in enumerate(zip(QUESTIONS, tokenized(tokenizer, QUESTIONS), strict=True)):
        question: dict[str, Any] = {"text": text, "input_ids": content["ids"]}
        if tiny.task in (MASKED, LABELS):
            answer = states_of_one_stack(model, content["ids"])
        else:
            question["greedy"] = greedy(model, content["ids"])
            if not _clear(question["greedy"]):
                return False
            if tiny.task == CAUSAL:
                answer = states_of_one_stack(model, content["ids"])
            else:
                question["decoder_ids"] = [model.config.decoder_start_token_id, *question["greedy"]["ids"][:-1]]
                answer = states_of_two_stacks(model, content["ids"], question["decoder_ids"])
        if tiny.name == "bert":
            answer["embedding"] = embedding(states_of_one_stack(model, _cut(content["ids"]))["hidden_states"])
        questions.append(question)
        arrays |= {f"{number}/{name}": array for name, array in answer.items()}
    goldens: dict[str, Any] = {
        "oracle": f"transformers {transformers.__version__}, torch {torch.__version__}, eager attention, float32, CPU",
        "questions": questions,
        "tokenized": list(tokenized(tokenizer, (*QUESTIONS, *TOKENIZED))),
    }
    if tiny.chat_template:
        goldens["chat"] = _chat(tokenizer, refuses_system=tiny.name == "qwen2")
    np.savez_compressed(folder / "goldens.npz", allow_pickle=False, **arrays)
    _write_json(folder / "goldens.json", goldens)
    return True


def _write_model(tiny: Tiny, folder: Path, seed: int) -> Any:
    """Config, weights, tokenizer and the settings of generation as files of a folder; answers the tokenizer."""
    backend = tiny.tokenizer()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **tiny.special)
    if tiny.chat_template:
        tokenizer.chat_template = tiny.chat_template
    tokenizer.save_pretrained(folder, save_jinja_files=tiny.name != "llama")  # one of them as older folders have it
    config = tiny.config(vocab_size=backend.get_vocab_size(), **tiny.options)
    model = getattr(transformers, tiny.task).from_config(config)
    number = getattr(torch, tiny.number)
    draw_weights(model, seed, number, tiny.embedding_spread)
    if tiny.task in (CAUSAL, SEQUENCE_TO_SEQUENCE):
        model.generation_config.update(**tiny.generation)
    model.to(number).save_pretrained(folder, max_shard_size=tiny.shard_size)
    for file in folder.glob("*.safetensors"):
        file.chmod(0o644)
    if tiny.older_rotary:
        _write_older_rotary(folder / "config.json")
    if tiny.name == "bert":
        _write_sentence_modules(folder)
    return tokenizer


def _clear(answer: dict[str, Any]) -> bool:
    margins = [margin for margin in answer["margins"] if margin is not None]
    return min(margins) > CLEAR and len(set(answer["ids"])) >= VARIED


def _cut(ids: list[int]) -> list[int]:
    """A text as the sentence model reads it: its first tokens, with the last special one."""
    return ids if len(ids) <= READ_LENGTH else [*ids[: READ_LENGTH - 1], ids[-1]]


def _chat(tokenizer: Any, *, refuses_system: bool) -> dict[str, Any]:
    messages = list(CHAT[1:] if refuses_system else CHAT)
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return {"messages": messages, "text": text, "ids": tokenizer(text, add_special_tokens=False)["input_ids"]}


def _write_older_rotary(path: Path) -> None:
    """Spell rotary positions as configs did before transformers 5."""
    config = json.loads(path.read_text())
    rotary = config.pop("rope_parameters")
    config["rope_theta"] = rotary.pop("rope_theta")
    config["rope_scaling"] = None if rotary["rope_type"] == "default" else rotary
    config["torch_dtype"] = config.pop("dtype")
    _write_json(path, config)


def _write_sentence_modules(folder: Path) -> None:
    """What sentence-transformers reads: the first token's vector, scaled to length 1, of so many tokens at the most."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(kinds.items())
    ]
    _write_json(folder / "modules.json", modules)
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": READ_LENGTH, "do_lower_case": False})
    modes = {f"pooling_mode_{mode}": mode == "cls_token" for mode in ("cls_token", "mean_tokens", "max_tokens")}
    width = json.loads((folder / "config.json").read_text())["hidden_size"]
    (folder / "1_Pooling").mkdir()
    _write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width} | modes)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=None if path.name == "goldens.json" else 1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
