"""The V2 inference protocol, which Triton and MLServer both speak, by Triton's own gRPC client."""

from peers.ends import HOST, INPUTS, MODEL, OUTPUT, wait_until
from peers.formula import Array
from peers.stopwatch import Call


def connect(port: int) -> Call:
    """A call that sends three float32 tensors (B, H, L, D) in raw form and reads one."""
    # Not beside MLServer itself, whose messages have the same names.
    from tritonclient import grpc as triton  # type: ignore[import-not-found]  # noqa: PLC0415

    client = triton.InferenceServerClient(f"{HOST}:{port}")
    wait_until(lambda: bool(client.is_model_ready(MODEL)))

    def call(*operands: Array) -> Array:
        inputs = []
        for name, array in zip(INPUTS, operands, strict=True):
            tensor = triton.InferInput(name, array.shape, "FP32")
            tensor.set_data_from_numpy(array)
            inputs.append(tensor)
        answer: Array = client.infer(MODEL, inputs).as_numpy(OUTPUT)
        return answer

    return call
