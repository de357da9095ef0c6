"""A model as the server has it: its files, the model, and the engine that drives it if it writes.

Only this module of the service needs the packages that models need.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from qkv_server.service.limits import ModelLimits
from qkv_server.service.models.answering import Rewrite
from qkv_server.service.models.description import Description, Task
from qkv_server.transformers import instructions
from qkv_server.transformers.families.constraints import constraints
from qkv_server.transformers.files import ModelFiles, read_model
from qkv_server.transformers.generation.constraints import Constraints
from qkv_server.transformers.generation.engine import Engine, EngineSettings
from qkv_server.transformers.generation.rewriting import rewrite
from qkv_server.transformers.generation.streams import DecoderStreams, EncoderDecoderStreams
from qkv_server.transformers.loading import Model, Writer, load
from qkv_server.transformers.repository.entry import Admit
from qkv_server.transformers.stacks.decoder import DecoderModel
from qkv_server.transformers.stacks.embedding_queue import EmbeddingQueue
from qkv_server.transformers.stacks.encoder_decoder import EncoderDecoderModel
from qkv_server.transformers.stacks.encoder_model import EncoderModel
from qkv_server.transformers.text.languages import Pair
from qkv_server.transformers.text.tokenizer import Encoding
from qkv_server.transformers.text.truncation import truncated

# Tokens of prompts that are read between two steps, times parameters: so that it takes 0.2 s with most models, as with
# SmolLM2. Smaller chunks than these cost more, and larger ones are no faster.
CHUNK_WORK, LEAST_CHUNK, MOST_CHUNK = 17 * 10**9, 128, 1024
SOFTMAX_WORK = 80  # of a score, beside its two products, in multiplications: as measured with SmolLM2
PIECE_SECONDS = 0.03  # between two messages of an answer at least: each costs as much as a token of a small model
WEIGHT_TYPE = np.dtype(np.float32)  # of all weights in memory


@dataclass(frozen=True, eq=False, slots=True)
class ServedModel:
    """A model in memory (a `repository.Loaded`). Which of its properties may be asked for, its tasks say."""

    name: str
    files: ModelFiles
    model: Model
    description: Description
    _engine: Engine[Any] | None
    _embeddings: EmbeddingQueue | None

    @property
    def nbytes(self) -> int:
        """What its weights take in memory."""
        return self.description.weight_bytes

    @property
    def encoder(self) -> EncoderModel:
        """The model, of one that embeds."""
        assert isinstance(self.model, EncoderModel)  # noqa: S101 - its tasks say so
        return self.model

    @property
    def embeddings(self) -> EmbeddingQueue:
        """Where texts wait for the model, of one that embeds."""
        assert self._embeddings is not None  # noqa: S101 - its tasks say so
        return self._embeddings

    @property
    def engine(self) -> Engine[Any]:
        """What drives the model, of one that writes."""
        assert self._engine is not None  # noqa: S101 - its tasks say so
        return self._engine

    def close(self) -> None:
        """Nothing is left to end when nobody uses it: an engine has a thread only while it has requests."""

    def cut(self, encoding: Encoding) -> Encoding:
        """The tokens of a text, cut to what the encoder was made to read."""
        return truncated(encoding, self.encoder.description.text_tokens)

    def chat_tokens(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The tokens of a chat, up to where the answer begins. Raises TemplateError."""
        return instructions.chat_tokens(self.files, messages)

    def translation(self, pair: Pair) -> Rewrite:
        """Translates texts from one language to another, of a model that translates."""
        return partial(rewrite, self.engine, instructions.translation(self.files, self._writer, pair))

    @property
    def constraints(self) -> Constraints:
        """What its files ask of its answers, of one that writes."""
        return constraints(self.files, encoder_decoder=isinstance(self.model, EncoderDecoderModel))

    def summary(self) -> Rewrite:
        """Summarizes texts, of a model that summarizes."""
        return partial(rewrite, self.engine, instructions.summary(self.files, self._writer))

    @property
    def _writer(self) -> Writer:
        """The model, of one that writes."""
        assert not isinstance(self.model, EncoderModel)  # noqa: S101 - its tasks say so
        return self.model


def loader(limits: ModelLimits) -> Callable[[str, Path, Admit], ServedModel]:
    """What makes a model of a name from its files, as a Repository wants it; it raises ModelFileError."""

    def load_model(name: str, path: Path, admit: Admit) -> ServedModel:
        files = read_model(path)
        admit(_weight_bytes(files))
        model = load(files)
        embeddings = EmbeddingQueue(model) if isinstance(model, EncoderModel) else None
        return ServedModel(name, files, model, _description(files, model), _engine(files, model, limits), embeddings)

    return load_model


def _engine(files: ModelFiles, model: Model, limits: ModelLimits) -> Engine[Any] | None:
    if isinstance(model, EncoderModel):
        return None
    settings = EngineSettings(
        streams=limits.streams,
        stream_bytes=limits.stream_bytes,
        queue=limits.stream_queue,
        chunk_tokens=min(max(CHUNK_WORK // files.weights.parameters, LEAST_CHUNK), MOST_CHUNK),
        most_tokens=limits.answer_tokens,
        double_work_tokens=_double_work_tokens(files, model),
        piece_seconds=PIECE_SECONDS,
    )
    if isinstance(model, DecoderModel):
        return Engine(model, DecoderStreams(model, limits.cache_bytes), files.tokenizer, settings)
    return Engine(model, EncoderDecoderStreams(model), files.tokenizer, settings)


def _double_work_tokens(files: ModelFiles, model: Writer) -> float:
    """How many tokens a stream has to remember for attention to them to be as much work as all products of the next."""
    if not isinstance(model, DecoderModel):
        return math.inf  # it reads prompts whole
    about = model.description
    attending = sum(layer.window is None for layer in about.layers)  # to all: windows bound the work
    work = attending * about.heads * (2 * about.head_size + SOFTMAX_WORK)
    return files.weights.parameters / work if work else math.inf


def _description(files: ModelFiles, model: Model) -> Description:
    return Description(
        architecture=model.description.architecture,
        tasks=_tasks(files, model),
        parameters=files.weights.parameters,
        weight_bytes=_weight_bytes(files),
        weight_type=WEIGHT_TYPE,
        hidden_size=model.description.hidden_size,
        heads=model.description.heads,
        vocabulary_size=model.description.vocabulary_size,
        **_sizes(model),
        languages=() if isinstance(model, EncoderModel) else instructions.language_pairs(files),
        labels=model.description.labels if isinstance(model, EncoderModel) else (),
    )


def _weight_bytes(files: ModelFiles) -> int:
    """What the weights take in memory."""
    return files.weights.parameters * WEIGHT_TYPE.itemsize


def _sizes(model: Model) -> dict[str, int]:
    """The sizes that each kind of model has of its own."""
    if isinstance(model, EncoderModel):
        return {"layers": model.description.layers, "context_tokens": model.description.text_tokens}
    if isinstance(model, DecoderModel):
        return {"layers": len(model.description.layers), "context_tokens": model.description.context_tokens}
    return {
        "layers": model.description.encoder_layers,
        "decoder_layers": model.description.decoder_layers,
        "context_tokens": model.description.source_tokens,
    }


def _tasks(files: ModelFiles, model: Model) -> frozenset[Task]:
    """What a model can be asked for."""
    if isinstance(model, EncoderModel):
        return frozenset((Task.EMBED, Task.ENCODE))
    rewriting = set()
    if instructions.can_summarize(files, model):
        rewriting.add(Task.SUMMARIZE)
    if instructions.can_translate(files, model):
        rewriting.add(Task.TRANSLATE)
    if isinstance(model, DecoderModel):
        chat = {Task.CHAT} if instructions.is_instructed(files) else set()
        return frozenset({Task.GENERATE} | chat | rewriting)
    # One that was made for a single thing is asked for that; the text that others take says what they shall do.
    return frozenset(rewriting if len(rewriting) == 1 else {Task.GENERATE} | rewriting)
