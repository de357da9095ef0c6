"""The Llama family: RMSNorm first, rotary positions, grouped heads, a gated feed-forward block.

Llama ("LLaMA", Touvron et al., 2023) and SmolLM; Mistral (Jiang et al., 2023) with windows; Qwen 2 and 3; Gemma 1, 2
and 3 ("Gemma 2", 2024: soft caps, norms before and after each block, windows in some layers). What tells them apart is
in `VARIANTS` and in their configs.
"""

import math
from dataclasses import dataclass

from qkv_server.transformers.families.answers import end_ids
from qkv_server.transformers.families.config import activation, count, flag, names, number, refusal
from qkv_server.transformers.families.rotary import rotary
from qkv_server.transformers.files import ModelFiles
from qkv_server.transformers.layers.attention import CausalAttention
from qkv_server.transformers.layers.feed_forward import FeedForward
from qkv_server.transformers.layers.halves import Halves
from qkv_server.transformers.layers.input_embedding import InputEmbedding
from qkv_server.transformers.layers.linear import Arena, Array, Linear
from qkv_server.transformers.layers.normalization import Norm, NormKind
from qkv_server.transformers.layers.positions import pairs_side_by_side
from qkv_server.transformers.stacks.decoder import DecoderDescription, DecoderLayer, DecoderModel, LayerDescription

FULL, SLIDING = "full_attention", "sliding_attention"  # of layer_types


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """What tells the families apart and their configs do not say, or only the newer ones."""

    query_key_value_bias: bool = False
    head_norms: bool = False  # of queries and keys
    norms_around: bool = False  # after each block, too
    norm_offset: float = 0.0  # of the weights of norms
    embedding_scaled: bool = False  # by √D
    tied: bool = False  # the output layer is the embedding
    full_every: int = 1  # the last of so many layers sees all keys, the others a window; 0: all have a window


VARIANTS = {
    "llama": Variant(),
    "mistral": Variant(full_every=0),
    "qwen2": Variant(query_key_value_bias=True),
    "qwen3": Variant(head_norms=True),
    "gemma": Variant(norm_offset=1.0, embedding_scaled=True, tied=True),
    "gemma2": Variant(norm_offset=1.0, embedding_scaled=True, tied=True, norms_around=True, full_every=2),
    "gemma3_text": Variant(
        norm_offset=1.0, embedding_scaled=True, tied=True, norms_around=True, head_norms=True, full_every=6
    ),
}


def build(files: ModelFiles) -> DecoderModel:
    """A decoder of this family. Raises ModelFileError for what is missing, wrong, or not known."""
    variant = VARIANTS[files.config["model_type"]]
    about = _description(files, variant)
    builder = _Builder(files, variant, about, Arena(files.weights.parameters), Halves())
    embedding = files.weights.take("model.embed_tokens.weight", (about.vocabulary_size, about.hidden_size))
    if flag(files, "tie_word_embeddings", variant.tied):
        output = embedding = builder.arena.stacked(embedding)
    else:
        output = builder.arena.stacked(files.weights.take("lm_head.weight", embedding.shape))
    return DecoderModel(
        description=about,
        embedding=InputEmbedding(embedding, math.sqrt(about.hidden_size) if variant.embedding_scaled else 1.0),
        layers=[builder.layer(number) for number in range(len(about.layers))],
        last_norm=builder.norm("model.norm", about.hidden_size),
        output=Linear(output, halves=builder.halves),
    )


def _description(files: ModelFiles, variant: Variant) -> DecoderDescription:
    hidden_size, heads = count(files, "hidden_size"), count(files, "num_attention_heads")
    kv_heads = count(files, "num_key_value_heads", heads)
    if heads % kv_heads:
        raise refusal(files, "num_key_value_heads", f"a divisor of num_attention_heads, {heads}")
    head_size = count(files, "head_dim", max(hidden_size // heads, 1))
    if head_size % 2:
        raise refusal(files, "head_dim", "an even number, whose halves are turned together")
    return DecoderDescription(
        architecture=files.config["model_type"],
        vocabulary_size=count(files, "vocab_size"),
        context_tokens=count(files, "max_position_embeddings"),
        hidden_size=hidden_size,
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        feed_forward_size=count(files, "intermediate_size"),
        norm_epsilon=number(files, "rms_norm_eps", 1e-6),
        layers=_layers(files, variant),
        scale=number(files, "query_pre_attn_scalar", head_size) ** -0.5,
        softcap=number(files, "attn_logit_softcapping", 0.0),
        output_softcap=number(files, "final_logit_softcapping", 0.0),
        end_ids=end_ids(files),
    )


def _layers(files: ModelFiles, variant: Variant) -> tuple[LayerDescription, ...]:
    layers = count(files, "num_hidden_layers")
    types = names(files, "layer_types") or [_layer_type(files, variant, layer) for layer in range(layers)]
    if len(types) != layers or not {FULL, SLIDING}.issuperset(types):
        raise refusal(files, "layer_types", f"{layers} of {FULL} and {SLIDING}")
    window = count(files, "sliding_window") if SLIDING in types else None
    return tuple(
        LayerDescription(window=window if kind == SLIDING else None, rotary=rotary(files, kind)) for kind in types
    )


def _layer_type(files: ModelFiles, variant: Variant, layer: int) -> str:
    """What a layer is where the config has no layer_types."""
    if files.config.get("sliding_window") is None:
        return FULL
    if flag(files, "use_sliding_window", False):  # Qwen
        return SLIDING if layer >= count(files, "max_window_layers") else FULL
    every = variant.full_every
    if every > 1:
        every = count(files, "sliding_window_pattern", every)  # Gemma 3
    return FULL if every and (layer + 1) % every == 0 else SLIDING


@dataclass(frozen=True, slots=True)
class _Builder:
    """Layers from the tensors of the files."""

    files: ModelFiles
    variant: Variant
    about: DecoderDescription
    arena: Arena
    halves: Halves

    def layer(self, number: int) -> DecoderLayer:
        """A layer of the stack."""
        name, size = f"model.layers.{number}", self.about.hidden_size
        around = self.variant.norms_around
        before_feed_forward = "pre_feedforward_layernorm" if around else "post_attention_layernorm"
        return DecoderLayer(
            attention_norm=self.norm(f"{name}.input_layernorm", size),
            attention=self._attention(f"{name}.self_attn", self.about.layers[number]),
            after_attention_norm=self.norm(f"{name}.post_attention_layernorm", size) if around else None,
            feed_forward_norm=self.norm(f"{name}.{before_feed_forward}", size),
            feed_forward=self._feed_forward(f"{name}.mlp"),
            after_feed_forward_norm=self.norm(f"{name}.post_feedforward_layernorm", size) if around else None,
        )

    def norm(self, name: str, size: int) -> Norm:
        """A norm over features."""
        weight = self.files.weights.take(f"{name}.weight", (size,))
        return Norm(NormKind.RMS, self.about.norm_epsilon, weight + weight.dtype.type(self.variant.norm_offset))

    def _attention(self, name: str, layer: LayerDescription) -> CausalAttention:
        about, size = self.about, self.about.head_size
        biased = flag(self.files, "attention_bias", False)
        into = (about.heads * size, about.kv_heads * size)
        rows = {"q_proj": into[0], "k_proj": into[1], "v_proj": into[1]}
        return CausalAttention(
            query_key_value=self._linear(name, rows, about.hidden_size, biased or self.variant.query_key_value_bias),
            output=self._linear(name, {"o_proj": about.hidden_size}, into[0], biased),
            heads=about.heads,
            kv_heads=about.kv_heads,
            scale=about.scale,
            softcap=about.softcap,
            window=layer.window,
            query_norm=self._head_norm(f"{name}.q_norm") if self.variant.head_norms else None,
            key_norm=self._head_norm(f"{name}.k_norm") if self.variant.head_norms else None,
        )

    def _head_norm(self, name: str) -> Norm:
        norm = self.norm(name, self.about.head_size)
        return Norm(norm.kind, norm.epsilon, pairs_side_by_side(norm.weight, self.about.head_size))

    def _feed_forward(self, name: str) -> FeedForward:
        hidden, inner = self.about.hidden_size, self.about.feed_forward_size
        biased = flag(self.files, "mlp_bias", False)
        named = "hidden_activation" if self.files.config.get("hidden_activation") else "hidden_act"  # Gemma's, others'
        return FeedForward(
            inner=self._linear(name, {"gate_proj": inner, "up_proj": inner}, hidden, biased),
            outer=self._linear(name, {"down_proj": hidden}, inner, biased),
            activation=activation(self.files, named),
            gated=True,
        )

    def _linear(self, name: str, rows: dict[str, int], inputs: int, biased: bool) -> Linear:
        """Layers of some rows each as one: (Σ rows, inputs)."""
        take = self.files.weights.take

        def part(layer: str, parameter: str, *shape: int) -> Array:
            tensor = take(f"{name}.{layer}.{parameter}", shape)
            return pairs_side_by_side(tensor, self.about.head_size) if layer in ("q_proj", "k_proj") else tensor

        weight = self.arena.stacked(*(part(layer, "weight", size, inputs) for layer, size in rows.items()))
        if not biased:
            return Linear(weight, halves=self.halves)
        bias = self.arena.stacked(*(part(layer, "bias", size) for layer, size in rows.items()))
        return Linear(weight, bias, self.halves)
