"""The protocol under the name that its clients know, for reflection.

Messages are made of copies under a name of our own (decision 1).
"""

from typing import Any

from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from qkv.third_party import open_inference_pb2

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
METHODS = tuple(open_inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name)


class Described:
    """The default pool of descriptors, and beside it the protocol by the protocol's own names.

    Not in the default pool, where they would clash with those of tritonclient or kserve in the same process.
    """

    def __init__(self) -> None:
        copy = FileDescriptorProto()
        open_inference_pb2.DESCRIPTOR.CopyToProto(copy)
        renamed = text_format.MessageToString(copy).replace(copy.package, PACKAGE)
        file = text_format.Parse(renamed, FileDescriptorProto())
        file.name = f"{PACKAGE}/open_inference.proto"
        self._protocol = descriptor_pool.DescriptorPool()
        self._protocol.Add(file)

    def FindFileByName(self, name: str) -> Any:  # noqa: N802 - protobuf's
        """The descriptor of a file; raises KeyError."""
        return self._find("FindFileByName", name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802 - protobuf's
        """The descriptor of the file that defines a name; raises KeyError."""
        return self._find("FindFileContainingSymbol", symbol)

    def _find(self, method: str, name: str) -> Any:
        try:
            return getattr(self._protocol, method)(name)
        except KeyError:
            return getattr(descriptor_pool.Default(), method)(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(descriptor_pool.Default(), name)


DESCRIBED: Any = Described()  # what reflection asks of a pool
