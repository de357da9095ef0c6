"""From the Sampling of a request to that of the models."""

from qkv.v1 import models_pb2
from qkv_server.service.violations import Violations
from qkv_server.transformers.generation.sampling import Sampling

PENALTIES = 0.01, 100.0  # beyond, logits are not finite or all alike


def read_sampling(message: models_pb2.Sampling, violations: Violations) -> tuple[Sampling, int | None]:
    """How tokens are chosen, and the seed if one is given; what is wrong is noted. A factor of 0 means none."""
    field = "sampling."
    violations.within(f"{field}temperature", message.temperature, 0)
    if message.repetition_penalty:
        violations.within(f"{field}repetition_penalty", message.repetition_penalty, *PENALTIES)
    violations.within(f"{field}top_k", message.top_k, 0)
    violations.within(f"{field}top_p", message.top_p, 0, 1)
    violations.within(f"{field}min_p", message.min_p, 0, 1)
    sampling = Sampling(
        temperature=message.temperature,
        repetition_penalty=message.repetition_penalty or 1.0,
        top_k=message.top_k,
        top_p=message.top_p or 1.0,
        min_p=message.min_p,
    )
    return sampling, message.seed if message.HasField("seed") else None
