"""The peers of `bench/core.py`: PyTorch's scaled_dot_product_attention, or the plain formula where that is missing."""

import numpy as np
from core_cases import Array, Case, Run

try:
    import torch
except ImportError:
    torch = None

NAME = "torch" if torch is not None else "plain NumPy"


def theirs(case: Case, threads: int) -> Run | None:
    """The call as the peer takes it; None if it cannot."""
    if torch is not None:
        return _torch(case, threads)
    return _plain(case) if case.d_output is None else None


def version() -> str:
    """The peer and its version, for people."""
    return f"torch {torch.__version__}" if torch is not None else "plain NumPy (PyTorch is not installed)"


def _torch(case: Case, threads: int) -> Run:
    """PyTorch's own choice of kernel; with gradients both ways through it, without else."""
    torch.set_num_threads(threads)
    query, key, value = (
        torch.from_numpy(array).requires_grad_(case.d_output is not None)
        for array in (case.query, case.key, case.value)
    )
    mask = None if case.mask is None else torch.from_numpy(case.mask)
    causal = mask is None and case.visibility.causal
    grouped = query.shape[1] != key.shape[1]
    attention = torch.nn.functional.scaled_dot_product_attention

    def forward() -> tuple[Array, ...]:
        with torch.no_grad():
            return (attention(query, key, value, attn_mask=mask, is_causal=causal, enable_gqa=grouped).numpy(),)

    if case.d_output is None:
        return forward
    d_output = torch.from_numpy(case.d_output)

    def both_ways() -> tuple[Array, ...]:
        output = attention(query, key, value, attn_mask=mask, is_causal=causal, enable_gqa=grouped)
        return tuple(gradient.numpy() for gradient in torch.autograd.grad(output, (query, key, value), d_output))

    return both_ways


def _plain(case: Case) -> Run:
    """The formula on whole arrays, as one writes it in NumPy."""
    groups = case.query.shape[1] // case.key.shape[1]
    key, value = (np.repeat(array, groups, axis=1) for array in (case.key, case.value))
    mask = case.mask
    if mask is None and case.visibility.causal:
        mask = np.tril(np.ones((case.query.shape[2], key.shape[2]), bool))

    def run() -> tuple[Array, ...]:
        scores = case.query @ key.swapaxes(-1, -2) / np.float32(np.sqrt(key.shape[-1]))
        if mask is not None:
            scores = np.where(mask, scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return (weights @ value / weights.sum(axis=-1, keepdims=True),)

    return run
