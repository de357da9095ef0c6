"""The Open Inference Protocol, version 2, over gRPC: models for the clients that Triton and KServe have already."""

from qkv_server.transport.oip.attention_model import AttentionModel
from qkv_server.transport.oip.described import DESCRIBED, SERVICE
from qkv_server.transport.oip.handler import Inference
from qkv_server.transport.oip.models import Models

__all__ = ["DESCRIBED", "SERVICE", "AttentionModel", "Inference", "Models"]
