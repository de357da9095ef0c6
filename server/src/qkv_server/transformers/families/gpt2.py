"""GPT-2 ("Language Models are Unsupervised Multitask Learners", Radford et al., 2019).

LayerNorm first, learned positions. Linear layers are stored (in, out), queries, keys and values already as one.
"""

from dataclasses import dataclass

from qkv_server.transformers.families.answers import end_ids
from qkv_server.transformers.families.config import activation, count, flag, head_size, number, refusal
from qkv_server.transformers.families.parameters import layer_norm
from qkv_server.transformers.files import ModelFiles
from qkv_server.transformers.layers.attention import CausalAttention
from qkv_server.transformers.layers.feed_forward import FeedForward
from qkv_server.transformers.layers.halves import Halves
from qkv_server.transformers.layers.input_embedding import InputEmbedding
from qkv_server.transformers.layers.linear import Arena, Array, Linear
from qkv_server.transformers.layers.normalization import Norm
from qkv_server.transformers.stacks.decoder import DecoderDescription, DecoderLayer, DecoderModel, LayerDescription

PREFIX = "transformer."  # of its tensors, but not in the oldest files


def build(files: ModelFiles) -> DecoderModel:
    """A GPT-2. Raises ModelFileError for what is missing, wrong, or not known."""
    about = _description(files)
    prefix = PREFIX if any(name.startswith(PREFIX) for name in files.weights) else ""
    builder = _Builder(files, prefix, about, Arena(files.weights.parameters), Halves())
    embedding = builder.arena.stacked(builder.take("wte.weight", about.vocabulary_size, about.hidden_size))
    output = embedding
    if not flag(files, "tie_word_embeddings", True):
        output = builder.arena.stacked(files.weights.take("lm_head.weight", embedding.shape))
    return DecoderModel(
        description=about,
        embedding=InputEmbedding(
            embedding, positions=builder.take("wpe.weight", about.context_tokens, about.hidden_size)
        ),
        layers=[builder.layer(f"h.{layer}") for layer in range(len(about.layers))],
        last_norm=builder.norm("ln_f"),
        output=Linear(output, halves=builder.halves),
    )


def _description(files: ModelFiles) -> DecoderDescription:
    hidden_size, heads, of_head = count(files, "n_embd"), count(files, "n_head"), head_size(files, "n_embd", "n_head")
    if flag(files, "scale_attn_by_inverse_layer_idx", False):
        raise refusal(files, "scale_attn_by_inverse_layer_idx", "false")
    return DecoderDescription(
        architecture=files.config["model_type"],
        vocabulary_size=count(files, "vocab_size"),
        context_tokens=count(files, "n_positions"),
        hidden_size=hidden_size,
        heads=heads,
        kv_heads=heads,
        head_size=of_head,
        feed_forward_size=count(files, "n_inner", 4 * hidden_size),
        norm_epsilon=number(files, "layer_norm_epsilon", 1e-5),
        layers=(LayerDescription(),) * count(files, "n_layer"),
        scale=of_head**-0.5 if flag(files, "scale_attn_weights", True) else 1.0,
        end_ids=end_ids(files),
    )


@dataclass(frozen=True, slots=True)
class _Builder:
    """Layers from the tensors of the files."""

    files: ModelFiles
    prefix: str
    about: DecoderDescription
    arena: Arena
    halves: Halves

    def take(self, name: str, *shape: int) -> Array:
        """A tensor."""
        return self.files.weights.take(self.prefix + name, shape)

    def layer(self, name: str) -> DecoderLayer:
        """A layer of the stack."""
        about = self.about
        return DecoderLayer(
            attention_norm=self.norm(f"{name}.ln_1"),
            attention=CausalAttention(
                query_key_value=self._linear(f"{name}.attn.c_attn", about.hidden_size, 3 * about.hidden_size),
                output=self._linear(f"{name}.attn.c_proj", about.hidden_size, about.hidden_size),
                heads=about.heads,
                kv_heads=about.heads,
                scale=about.scale,
            ),
            feed_forward_norm=self.norm(f"{name}.ln_2"),
            feed_forward=FeedForward(
                inner=self._linear(f"{name}.mlp.c_fc", about.hidden_size, about.feed_forward_size),
                outer=self._linear(f"{name}.mlp.c_proj", about.feed_forward_size, about.hidden_size),
                activation=activation(self.files, "activation_function", "gelu_new"),
            ),
        )

    def norm(self, name: str) -> Norm:
        """A norm over the hidden size."""
        return layer_norm(self.files.weights, self.prefix + name, self.about.hidden_size, self.about.norm_epsilon)

    def _linear(self, name: str, inputs: int, outputs: int) -> Linear:
        weight = self.take(f"{name}.weight", inputs, outputs)
        return Linear(self.arena.stacked(weight.T), self.take(f"{name}.bias", outputs), self.halves)
