"""GPT-2 ("Language Models are Unsupervised Multitask Learners", Radford et al., 2019).

LayerNorm first, learned positions. Linear layers are stored (in, out), queries, keys and values already as one.
"""

from dataclasses import dataclass

from qkv_server.transformers.families.config import activation, count, flag, number, refusal
from qkv_server.transformers.files import ModelFiles
from qkv_server.transformers.layers.attention import CausalAttention
from qkv_server.transformers.layers.feed_forward import FeedForward
from qkv_server.transformers.layers.halves import Halves
from qkv_server.transformers.layers.linear import Arena, Array, Linear
from qkv_server.transformers.layers.norm import Norm
from qkv_server.transformers.stacks.decoder import DecoderLayer, DecoderModel
from qkv_server.transformers.stacks.description import DecoderDescription, LayerDescription, NormKind

PREFIX = "transformer."  # of its tensors, but not in the oldest files


def build(files: ModelFiles) -> DecoderModel:
    """A GPT-2. Raises ModelFileError for what is missing, wrong, or not known."""
    about = _description(files)
    builder = _Builder(files, about, Arena(files.weights.parameters), Halves())
    embedding = builder.arena.stacked(builder.take("wte.weight", about.vocabulary_size, about.hidden_size))
    output = embedding
    if not flag(files, "tie_word_embeddings", True):
        output = builder.arena.stacked(files.weights.take("lm_head.weight", embedding.shape))
    return DecoderModel(
        description=about,
        embedding=embedding,
        positions=builder.take("wpe.weight", about.context_tokens, about.hidden_size),
        layers=[builder.layer(f"h.{layer}") for layer in range(len(about.layers))],
        last_norm=builder.norm("ln_f"),
        output=Linear(output, halves=builder.halves),
    )


def _description(files: ModelFiles) -> DecoderDescription:
    hidden_size, heads = count(files, "n_embd"), count(files, "n_head")
    if hidden_size % heads:
        raise refusal(files, "n_head", f"a divisor of n_embd, {hidden_size}")
    if flag(files, "scale_attn_by_inverse_layer_idx", False):
        raise refusal(files, "scale_attn_by_inverse_layer_idx", "false")
    head_size = hidden_size // heads
    return DecoderDescription(
        architecture=files.config["model_type"],
        vocabulary_size=count(files, "vocab_size"),
        context_tokens=count(files, "n_positions"),
        hidden_size=hidden_size,
        heads=heads,
        kv_heads=heads,
        head_size=head_size,
        feed_forward_size=count(files, "n_inner", 4 * hidden_size),
        norm=NormKind.LAYER,
        norm_epsilon=number(files, "layer_norm_epsilon", 1e-5),
        layers=(LayerDescription(),) * count(files, "n_layer"),
        scale=head_size**-0.5 if flag(files, "scale_attn_weights", True) else 1.0,
        end_ids=files.end_ids,
    )


@dataclass(frozen=True, slots=True)
class _Builder:
    """Layers from the tensors of the files."""

    files: ModelFiles
    about: DecoderDescription
    arena: Arena
    halves: Halves

    def take(self, name: str, *shape: int) -> Array:
        """A tensor."""
        prefix = PREFIX if any(known.startswith(PREFIX) for known in self.files.weights) else ""
        return self.files.weights.take(prefix + name, shape)

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
        weight, bias = (self.take(f"{name}.{part}", self.about.hidden_size) for part in ("weight", "bias"))
        return Norm(NormKind.LAYER, self.about.norm_epsilon, weight, bias)

    def _linear(self, name: str, inputs: int, outputs: int) -> Linear:
        weight = self.take(f"{name}.weight", inputs, outputs)
        return Linear(self.arena.stacked(weight.T), self.take(f"{name}.bias", outputs), self.halves)
