"""NVIDIA Triton Inference Server by PyTriton, without an accelerator, called by Triton's own gRPC client."""

import os
import sys
import sysconfig
from pathlib import Path

import numpy as np

from peers.ends import HOST, INPUTS, MODEL, OUTPUT, free_port
from peers.formula import Array, attention
from peers.kserve import connect

__all__ = ["connect", "serve"]

PRELOAD = "LD_PRELOAD"


def serve(port: int) -> None:
    """One model of any rank-4 shapes, without Triton's batching: calls come one after another."""
    _preload_libpython()
    from pytriton.model_config import ModelConfig, Tensor  # type: ignore[import-not-found]  # noqa: PLC0415
    from pytriton.triton import Triton, TritonConfig  # type: ignore[import-not-found]  # noqa: PLC0415

    addresses = TritonConfig(
        grpc_address=HOST, grpc_port=port, http_address=HOST, http_port=free_port(), allow_metrics=False
    )
    with Triton(config=addresses) as server:
        server.bind(
            model_name=MODEL,
            infer_func=_infer,
            inputs=[Tensor(name=name, dtype=np.float32, shape=(-1,) * 4) for name in INPUTS],
            outputs=[Tensor(name=OUTPUT, dtype=np.float32, shape=(-1,) * 4)],
            config=ModelConfig(batching=False),
        )
        server.serve()


def _infer(requests: list[dict[str, Array]]) -> list[dict[str, Array]]:
    return [{OUTPUT: attention(*(request[name] for name in INPUTS))} for request in requests]


def _preload_libpython() -> None:
    """Start again with this interpreter's own library: the one that Triton ships mixes with another's modules."""
    library = Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME"))
    if PRELOAD not in os.environ and library.suffix != ".a" and library.exists():
        command = [sys.executable, "-m", "peers", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | {PRELOAD: str(library)})  # noqa: S606 - itself
