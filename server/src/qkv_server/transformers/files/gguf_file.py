"""GGUF files: converted once to a folder as Hugging Face has it, in float32, which is then mapped into memory.

The `gguf` library needs seconds to parse a file and to widen its blocks; a mapped folder opens at once.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qkv_server.transformers import gguf_parts
from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files import gguf_reading, gguf_tensors, gguf_tokenizer, hugging_face, safetensors
from qkv_server.transformers.files.conversion_cache import converted
from qkv_server.transformers.files.gguf_metadata import config
from qkv_server.transformers.files.model_files import ModelFiles

Progress = Callable[[float], None]  # is told which part of the work is done, from 0 to 1


def is_one(path: Path) -> bool:
    """Whether this is such a file, or a folder with one alone; it may be in parts."""
    return len(_models(path)) == 1


def _models(path: Path) -> set[Path]:
    """The models of a folder, or the one of a file, each as its first part."""
    files = path.glob("*.gguf") if path.is_dir() else filter(None, [gguf_parts.named(path)])
    return set(map(gguf_parts.first, files))


def read(path: Path, progress: Progress) -> ModelFiles:
    """A .gguf file, converted if it was not before. Raises ModelFileError."""
    (first,) = _models(path)
    parts = gguf_parts.parts(first)
    for number, part in enumerate(parts, 1):
        if not part.exists():
            raise ModelFileError(part, f"is missing, part {number} of {len(parts)}")
    folder = converted(parts, lambda folder: convert(parts, folder, progress))
    return replace(hugging_face.read(folder), path=path)


def convert(parts: Sequence[Path], folder: Path, progress: Progress) -> None:
    """Write a .gguf file, which may be in parts, as a folder of Hugging Face's. Raises ModelFileError."""
    metadata, tensors = gguf_reading.read(parts)
    path, architecture = metadata.path, metadata.architecture
    factors = tensors.pop(gguf_tensors.ROTARY_FACTORS, None)
    names = {name: gguf_tensors.translated(architecture, name) for name in tensors}
    unknown = [name for name, ours in names.items() if ours is None]
    if unknown:
        raise ModelFileError(tensors[unknown[0]].path, f"tensor {unknown[0]!r} is not one of {architecture}")
    if "token_embd.weight" not in tensors:
        raise ModelFileError(path, "has no tensor 'token_embd.weight'")
    said = config(
        metadata,
        vocabulary_size=tensors["token_embd.weight"].shape[0],
        tied="output.weight" not in tensors,
        rotary_factors=None if factors is None else factors.widened(),
    )
    _write_json(folder / "config.json", said)
    _write_json(
        folder / "tokenizer_config.json",
        gguf_tokenizer.special_tokens(metadata) | {"chat_template": metadata.get("tokenizer.chat_template", str)},
    )
    gguf_tokenizer.tokenizer(metadata).save(str(folder / "tokenizer.json"))
    ends = [metadata.get(f"tokenizer.ggml.{name}_token_id", int) for name in ("eos", "eot")]  # of a text, of a turn
    _write_json(
        folder / "generation_config.json", {"eos_token_id": sorted({end for end in ends if end is not None}) or None}
    )

    def layer_by_layer() -> Iterator[npt.NDArray[np.float32]]:
        for done, (name, tensor) in enumerate(tensors.items()):
            progress(done / len(tensors))
            try:
                yield gguf_tensors.restored(architecture, str(names[name]), tensor.widened(), said)
            except ValueError as error:
                raise ModelFileError(tensor.path, f"tensor {name!r} does not fit the metadata: {error}") from None
        progress(1.0)

    shapes = {
        ours: tensors[name].shape[::-1] if gguf_tensors.is_transposed(architecture, ours) else tensors[name].shape
        for name, ours in names.items()
        if ours is not None
    }
    safetensors.write(folder / hugging_face.WEIGHTS, shapes, layer_by_layer())


def _write_json(path: Path, said: dict[str, Any]) -> None:
    path.write_text(json.dumps(said, ensure_ascii=False, indent=1), "utf-8")
