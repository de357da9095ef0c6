"""Server reflection: tools learn the contract from the server."""

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from serving import ServerProcess

import qkv
from qkv.v1 import attention_pb2


def test_lists_the_services(server: ServerProcess) -> None:
    """Every service of the server is listed, reflection included."""
    with grpc.insecure_channel(server.address) as channel:
        assert set(ProtoReflectionDescriptorDatabase(channel).get_services()) == {
            "qkv.v1.AttentionService",
            "qkv.v1.ModelService",
            "inference.GRPCInferenceService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }


def test_describes_the_contract_as_it_is(server: ServerProcess) -> None:
    """What reflection says of AttentionRequest, and of all that it is made of, is what the contract says."""
    with grpc.insecure_channel(server.address) as channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        described = pool.FindMessageTypeByName("qkv.v1.AttentionRequest")
        assert described.file.serialized_pb == attention_pb2.DESCRIPTOR.serialized_pb
        service = pool.FindServiceByName("qkv.v1.AttentionService")
        assert [(method.name, method.input_type.full_name) for method in service.methods] == [
            ("Attend", "qkv.v1.AttentionRequest"),
            ("Merge", "qkv.v1.MergeRequest"),
            ("Differentiate", "qkv.v1.DifferentiateRequest"),
        ]


@pytest.mark.parametrize("message", ["BadRequest", "ErrorInfo", "RetryInfo"])
def test_describes_the_details_of_errors(message: str, server: ServerProcess) -> None:
    """A tool can also read the details that errors carry, by the names that google.rpc gives them."""
    with grpc.insecure_channel(server.address) as channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        assert pool.FindMessageTypeByName(f"google.rpc.{message}").full_name == f"google.rpc.{message}"


def test_can_be_switched_off() -> None:
    """With --no-reflection the service is UNIMPLEMENTED, and the others are as before."""
    with ServerProcess(["--no-reflection"]) as server, grpc.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            ProtoReflectionDescriptorDatabase(channel).get_services()
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        with qkv.Client(server.address) as client:
            assert client.health("qkv.v1.AttentionService") is qkv.Health.SERVING
