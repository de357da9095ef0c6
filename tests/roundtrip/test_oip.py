"""The Open Inference Protocol as any gRPC client speaks it; with Triton's own, see tests/oip."""

from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import DEADLINE, assert_invalid, read_refusal, refusal_of

import qkv
from qkv.third_party.open_inference_pb2 import (
    DESCRIPTOR,
    InferTensorContents,
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)

SERVICE = "inference.GRPCInferenceService"
X = np.array([[0.5, 0.8], [0.7, 0.1], [0.4, 0.6]])

Infer = Callable[[ModelInferRequest], ModelInferResponse]


@pytest.fixture(scope="module")
def infer(channel: grpc.Channel) -> Infer:
    call = channel.unary_unary(
        f"/{SERVICE}/ModelInfer",
        request_serializer=ModelInferRequest.SerializeToString,
        response_deserializer=ModelInferResponse.FromString,
    )
    return partial(call, timeout=DEADLINE)


def raw(**arrays: Any) -> ModelInferRequest:
    """A question in FP64, as raw contents."""
    request = ModelInferRequest(model_name="attention")
    for name, array in arrays.items():
        request.inputs.add(name=name, datatype="FP64", shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    return request


def typed(**arrays: Any) -> ModelInferRequest:
    """The same question, as typed contents."""
    request = ModelInferRequest(model_name="attention")
    for name, array in arrays.items():
        contents = InferTensorContents(fp64_contents=array.ravel().tolist())
        request.inputs.add(name=name, datatype="FP64", shape=array.shape, contents=contents)
    return request


def asking_for(request: ModelInferRequest, *outputs: str) -> ModelInferRequest:
    for name in outputs:
        request.outputs.add(name=name)
    return request


def test_the_answer_comes_in_the_form_of_the_question(infer: Infer, client: qkv.Client) -> None:
    """Raw contents are answered raw, typed ones typed, with the same numbers, which are those of Attend."""
    in_raw = infer(asking_for(raw(Q=X), "Y", "weights"))
    in_types = infer(asking_for(typed(Q=X), "Y", "weights"))
    assert not in_types.raw_output_contents
    expected = client.attention(X, outputs=["weights"])
    assert expected.weights is not None
    for place, array in enumerate((expected.output, expected.weights)):
        assert in_raw.outputs[place].shape == list(array.shape)
        assert not in_raw.outputs[place].HasField("contents")
        assert in_raw.raw_output_contents[place] == array.tobytes()
        assert list(in_types.outputs[place].contents.fp64_contents) == array.ravel().tolist()


def test_an_answer_that_has_no_typed_form_is_raw(infer: Infer) -> None:
    """The log-sum-exp of a softmax in FP16 is FP16, which only raw contents hold; so all outputs are raw."""
    request = asking_for(typed(Q=X), "Y", "log_sum_exp")
    request.parameters["path"].string_param = "reference"
    request.parameters["softmax_precision"].string_param = "FP16"
    response = infer(request)
    assert [output.datatype for output in response.outputs] == ["FP64", "FP16"]
    assert [len(contents) for contents in response.raw_output_contents] == [X.nbytes, 2 * len(X)]


@pytest.mark.parametrize("number", [1, 10, 11, 16])
def test_types_of_onnx_have_its_numbers(number: int, infer: Infer) -> None:
    """softmax_precision may be a number of TensorProto.DataType: FLOAT, FLOAT16, DOUBLE or BFLOAT16."""
    request = asking_for(raw(Q=X), "log_sum_exp")
    request.parameters["path"].string_param = "reference"
    request.parameters["softmax_precision"].int64_param = number
    assert infer(request).outputs[0].datatype == {1: "FP32", 10: "FP16", 11: "FP64", 16: "BF16"}[number]


def test_a_window_of_minus_one_is_none(infer: Infer) -> None:
    """ONNX's windows are unbounded at -1."""
    request = raw(Q=X)
    request.parameters["left_window_size"].int64_param = -1
    assert infer(request).raw_output_contents == infer(raw(Q=X)).raw_output_contents
    request.parameters["left_window_size"].int64_param = 0
    assert infer(request).raw_output_contents != infer(raw(Q=X)).raw_output_contents


def test_mode_says_which_scores_come_back(infer: Infer) -> None:
    """The four modes of ONNX are the four quantities of the contract."""
    for mode, quantity in enumerate(("scores", "capped_scores", "masked_scores", "weights")):
        request = asking_for(raw(Q=X), "qk_matmul_output", quantity)
        request.parameters["is_causal"].bool_param = True
        request.parameters["softcap"].double_param = 0.1
        request.parameters["qk_matmul_output_mode"].int64_param = mode
        by_mode, by_name = infer(request).raw_output_contents
        assert by_mode == by_name


def changed(change: Callable[[ModelInferRequest], object], request: ModelInferRequest) -> ModelInferRequest:
    change(request)
    return request


WRONG: dict[str, tuple[ModelInferRequest, str]] = {
    "fewer contents than inputs": (
        changed(lambda request: request.raw_input_contents.pop(), raw(Q=X, K=X)),
        "raw_input_contents",
    ),
    "typed beside raw contents": (
        changed(lambda request: request.inputs[0].contents.fp64_contents.append(1), raw(Q=X)),
        "Q",
    ),
    "too few typed contents": (
        changed(lambda request: request.inputs[0].contents.fp64_contents.pop(), typed(Q=X)),
        "Q.data",
    ),
    "an axis below 0": (changed(lambda request: request.inputs[0].shape.insert(0, -1), raw(Q=X)), "Q.shape"),
    "a parameter without a value": (
        changed(lambda request: request.parameters["scale"].SetInParent(), raw(Q=X)),
        "scale",
    ),
    "an output with parameters": (
        changed(
            lambda request: request.outputs.add(name="Y").parameters["classification"].SetInParent(),
            raw(Q=X),
        ),
        "Y",
    ),
    "an output twice": (asking_for(raw(Q=X), "Y", "Y"), "Y"),
    "an input twice": (
        changed(lambda request: request.MergeFrom(raw(Q=X)), raw(Q=X)),
        "Q",
    ),
    "wrong bytes of a mask": (
        ModelInferRequest(
            model_name="attention",
            inputs=[
                ModelInferRequest.InferInputTensor(name="Q", datatype="FP64", shape=X.shape),
                ModelInferRequest.InferInputTensor(name="attn_mask", datatype="BOOL", shape=(3, 3)),
            ],
            raw_input_contents=[X.tobytes(), bytes([2] * 9)],
        ),
        "attn_mask.data",
    ),
}


@pytest.mark.parametrize(("request_", "field"), WRONG.values(), ids=WRONG.keys())
def test_wrong_requests_carry_violations(request_: ModelInferRequest, field: str, infer: Infer) -> None:
    """Refusals have the details of every other method of the server, with fields by the names of the request."""
    refusal = refusal_of(lambda: infer(request_))
    assert_invalid(refusal)
    assert refusal.fields == (field,)


def test_a_stream_says_whose_refusal_it_is(channel: grpc.Channel) -> None:
    """A response without an answer has the id of its request, and is its last; bytes that are none have none."""
    stream = channel.stream_stream(
        f"/{SERVICE}/ModelStreamInfer",
        request_serializer=bytes,
        response_deserializer=ModelStreamInferResponse.FromString,
    )
    wrong, right = raw(X=X), raw(Q=X)
    wrong.id, right.id = "wrong", "right"
    payloads = [wrong.SerializeToString(), b"\xff", right.SerializeToString()]
    refused, garbage, answered = stream(iter(payloads), timeout=DEADLINE)
    assert (refused.infer_response.id, refused.error_message[:14]) == ("wrong", "X: is no input")
    assert (garbage.infer_response.id, garbage.error_message[:10]) == ("", "request: t")
    assert (answered.infer_response.id, answered.error_message) == ("right", "")
    for response in (refused, garbage, answered):
        assert response.infer_response.parameters["triton_final_response"].bool_param


def test_reflection_describes_it_by_its_own_name(channel: grpc.Channel) -> None:
    """Tools learn the service under the name that they call it by, with the messages that the server reads."""
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    described = pool.FindServiceByName(SERVICE)
    ours = DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert [(each.name, each.input_type.full_name) for each in described.methods] == [
        (each.name, f"inference.{each.input_type.name}") for each in ours.methods
    ]
    request, expected = described.methods_by_name["ModelInfer"].input_type, ModelInferRequest.DESCRIPTOR
    assert [(each.name, each.number, each.type) for each in request.fields] == [
        (each.name, each.number, each.type) for each in expected.fields
    ]


NAMES = st.sampled_from(["Q", "K", "V", "attn_mask", "past_key", "nonpad_kv_seqlen", "sinks", "block_map", "Z", ""])
TYPES = st.sampled_from(["FP64", "FP32", "FP16", "BF16", "BOOL", "INT64", "INT32", "INT8", "UINT8", "BYTES", ""])
OPTIONS = st.sampled_from(["is_causal", "scale", "alignment", "q_num_heads", "window_left", "rotary", "path", "Z"])
VALUES = (
    ("bool_param", st.booleans()),
    ("int64_param", st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)),
    ("double_param", st.floats()),
    ("uint64_param", st.integers(0, 2**64 - 1)),
    ("string_param", st.sampled_from(["top_left", "1", "tiled", "", "nan", "9" * 5000])),
)
EXPECTED = (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT)
OUTPUTS = st.sampled_from(["Y", "present_key", "qk_matmul_output", "log_sum_exp", "Z"])


@st.composite
def requests(draw: st.DrawFn) -> ModelInferRequest:
    """Requests that are nearly right, or not at all."""
    request = ModelInferRequest(model_name=draw(st.sampled_from(["attention"] * 9 + ["resnet"])))
    is_raw = draw(st.booleans())
    for name in draw(st.lists(NAMES, max_size=4)):
        tensor = request.inputs.add(
            name=name, datatype=draw(TYPES), shape=draw(st.lists(st.integers(-1, 3), max_size=5))
        )
        if is_raw:
            request.raw_input_contents.append(draw(st.binary(max_size=40)))
        else:
            getattr(tensor.contents, draw(st.sampled_from(["fp32_contents", "fp64_contents", "int_contents"]))).extend(
                draw(st.lists(st.integers(-200, 200), max_size=9))
            )
    for name in draw(st.lists(OPTIONS, max_size=3)):
        kind, values = draw(st.sampled_from(VALUES))
        setattr(request.parameters[name], kind, draw(values))
    return asking_for(request, *draw(st.lists(OUTPUTS, max_size=2)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=requests())
def test_any_request_has_an_answer_or_a_reason(request: ModelInferRequest, infer: Infer) -> None:
    """Whatever is asked is answered, or refused with complete details; never INTERNAL, and the server goes on."""
    if request.model_name == "attention":
        assert outcome_of(lambda: infer(request)) in EXPECTED
    else:
        assert refusal_of(lambda: infer(request)).code is grpc.StatusCode.NOT_FOUND


@pytest.fixture(scope="module")
def send(channel: grpc.Channel) -> Callable[[bytes], bytes]:
    call = channel.unary_unary(f"/{SERVICE}/ModelInfer", request_serializer=bytes, response_deserializer=bytes)
    return partial(call, timeout=DEADLINE)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_spoiled_bytes_have_an_answer_or_a_reason(data: st.DataObject, send: Callable[[bytes], bytes]) -> None:
    """A request whose bytes were changed is answered, or refused; never INTERNAL."""
    payload = bytearray(data.draw(st.sampled_from([raw(Q=X, K=X), typed(Q=X)])).SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(payload) - 1))
        payload[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=6))
    assert outcome_of(lambda: send(bytes(payload))) in (*EXPECTED, grpc.StatusCode.NOT_FOUND)


def outcome_of(call: Callable[[], object]) -> grpc.StatusCode:
    """OK, or the code of a refusal whose details are complete."""
    try:
        call()
    except grpc.RpcError as error:
        return read_refusal(error).code
    return grpc.StatusCode.OK
