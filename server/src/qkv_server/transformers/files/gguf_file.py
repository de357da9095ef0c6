"""GGUF files: converted once to a folder as Hugging Face has it, in float32, which is then mapped into memory.

The `gguf` library needs seconds to parse a file and to widen its blocks; a mapped folder opens at once. It is imported
only for a conversion.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files import gguf_tensors, gguf_tokenizer, hugging_face, safetensors
from qkv_server.transformers.files.conversion_cache import converted
from qkv_server.transformers.files.gguf_metadata import Metadata, config
from qkv_server.transformers.files.model_files import ModelFiles

if TYPE_CHECKING:
    from gguf import GGUFReader, ReaderTensor

Progress = Callable[[float], None]  # is told which part of the work is done, from 0 to 1


def is_one(path: Path) -> bool:
    """Whether this is such a file, or a folder with one alone."""
    return len(_files(path)) == 1


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return list(path.glob("*.gguf"))
    return [path] if path.is_file() and path.resolve().suffix == ".gguf" else []


def read(path: Path, progress: Progress) -> ModelFiles:
    """A .gguf file, converted if it was not before. Raises ModelFileError."""
    (file,) = _files(path)
    folder = converted(file, lambda folder: convert(file, folder, progress))
    return replace(hugging_face.read(folder), path=path)


def convert(path: Path, folder: Path, progress: Progress) -> None:
    """Write a .gguf file as a folder of Hugging Face's. Raises ModelFileError."""
    reader = _opened(path)
    metadata = _metadata(path, reader)
    architecture = metadata.architecture
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    factors = tensors.pop(gguf_tensors.ROTARY_FACTORS, None)
    names = {name: gguf_tensors.translated(architecture, name) for name in tensors}
    unknown = [name for name, ours in names.items() if ours is None]
    if unknown:
        raise ModelFileError(path, f"tensor {unknown[0]!r} is not one of {architecture}")
    if "token_embd.weight" not in tensors:
        raise ModelFileError(path, "has no tensor 'token_embd.weight'")
    said = config(
        metadata,
        vocabulary_size=int(tensors["token_embd.weight"].shape[1]),
        tied="output.weight" not in tensors,
        rotary_factors=None if factors is None else _widened(path, factors),
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
                yield gguf_tensors.restored(architecture, str(names[name]), _widened(path, tensor), said)
            except ValueError as error:
                raise ModelFileError(path, f"tensor {name!r} does not fit the metadata: {error}") from None
        progress(1.0)

    shapes = {str(names[name]): _shape(architecture, str(names[name]), tensor) for name, tensor in tensors.items()}
    safetensors.write(folder / hugging_face.WEIGHTS, shapes, layer_by_layer())


def _opened(path: Path) -> "GGUFReader":
    try:
        from gguf import GGUFReader  # noqa: PLC0415 - takes half a second, and most servers need it never
    except ImportError:
        raise ModelFileError(path, "needs the package gguf: pip install 'qkv-server[models]'") from None
    try:
        return GGUFReader(path)
    except Exception as error:  # what a broken file does to this reader is not documented
        raise ModelFileError(path, f"is truncated, or no GGUF file: {error}") from error


def _metadata(path: Path, reader: "GGUFReader") -> Metadata:
    try:
        return Metadata(path, {name: field.contents() for name, field in reader.fields.items()})
    except Exception as error:  # as above
        raise ModelFileError(path, f"its metadata cannot be read: {error}") from error


def _widened(path: Path, tensor: "ReaderTensor") -> npt.NDArray[np.float32]:
    """A tensor in float32 and in the usual order of its sizes."""
    from gguf.quants import dequantize  # noqa: PLC0415 - as above

    try:
        return np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32)
    except Exception as error:  # as above
        raise ModelFileError(path, f"tensor {tensor.name!r} cannot be read: {error}") from error


def _shape(architecture: str, name: str, tensor: "ReaderTensor") -> tuple[int, ...]:
    """The shape that a tensor will have; GGUF counts sizes from the last."""
    shape = tuple(int(size) for size in reversed(tensor.shape))
    return shape[::-1] if gguf_tensors.is_transposed(architecture, name) else shape


def _write_json(path: Path, said: dict[str, Any]) -> None:
    path.write_text(json.dumps(said, ensure_ascii=False, indent=1), "utf-8")
