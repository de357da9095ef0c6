"""What Triton's client learns of the server and its models before it asks any."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from oip.asking import MODEL, infer, random, refusal_of
from tritonclient.utils import InferenceServerException  # type: ignore[import-not-found]

import qkv

INPUTS = ["Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen"]
OUTPUTS = ["Y", "present_key", "present_value", "qk_matmul_output"]


def test_the_server_is_live_and_ready(triton: Any) -> None:
    """A server that serves is live and ready."""
    assert triton.is_server_live()
    assert triton.is_server_ready()


@pytest.mark.parametrize(
    ("name", "version", "ready"),
    [(MODEL, "", True), (MODEL, "1", True), (MODEL, "2", False), ("resnet", "", False)],
)
def test_a_model_is_ready_or_not_here(name: str, version: str, ready: bool, triton: Any) -> None:
    """The model is ready, in its version or any; one that is not here is not ready."""
    assert triton.is_model_ready(name, version) is ready


def test_the_server_says_what_it_is(triton: Any) -> None:
    """Name, version, and the extensions that it has."""
    metadata = triton.get_server_metadata()
    assert metadata.name == "qkv-server"
    assert metadata.version == version("qkv-server")
    assert set(metadata.extensions) == {"model_configuration", "parameters", "statistics"}


def test_the_model_says_what_it_takes(triton: Any) -> None:
    """Inputs and outputs are those of ONNX's Attention, of any lengths."""
    metadata = triton.get_model_metadata(MODEL)
    assert (metadata.name, list(metadata.versions)) == (MODEL, ["1"])
    assert [tensor.name for tensor in metadata.inputs] == INPUTS
    assert [tensor.name for tensor in metadata.outputs] == OUTPUTS
    assert {length for tensor in (*metadata.inputs, *metadata.outputs) for length in tensor.shape} == {-1}


def test_the_configuration_agrees_with_the_metadata(triton: Any) -> None:
    """The same tensors in Triton's words, which also say that all but Q may be left out; one answer for a request."""
    metadata, config = triton.get_model_metadata(MODEL), triton.get_model_config(MODEL).config
    assert (config.name, config.max_batch_size, config.model_transaction_policy.decoupled) == (MODEL, 0, False)
    types = config.DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_number
    assert [(each.name, types[each.data_type].name, each.dims) for each in (*config.input, *config.output)] == [
        (each.name, f"TYPE_{each.datatype}", each.shape) for each in (*metadata.inputs, *metadata.outputs)
    ]
    assert [each.name for each in config.input if not each.optional] == ["Q"]


def test_the_configuration_lists_parameters_that_are_taken(triton: Any) -> None:
    """What the configuration says of the parameters is what a refusal of a wrong value says."""
    parameters = triton.get_model_config(MODEL).config.parameters
    assert {"is_causal", "scale", "qk_matmul_output_mode", "alignment", "rotary.base"} <= set(parameters)
    for name, said in parameters.items():
        status, message = refusal_of(triton, {"Q": random(0, 1, 1, 2, 4)}, **{name: "?"})
        assert status == "StatusCode.INVALID_ARGUMENT"
        assert message.startswith(f"{name}: ")
        assert said.string_value in message


def test_the_index_lists_the_model(triton: Any) -> None:
    """There is one model, which is ready."""
    (model,) = triton.get_model_repository_index().models
    assert (model.name, model.version, model.state) == (MODEL, "1", "READY")


def test_calls_are_counted(triton: Any) -> None:
    """An answer and a refusal are counted each as what it is, with the time that it took."""
    (before,) = triton.get_inference_statistics(MODEL, "1").model_stats
    infer(triton, {"Q": random(0, 1, 1, 2, 4)})
    refusal_of(triton, {"K": random(0, 1, 1, 2, 4)})
    (after,) = triton.get_inference_statistics().model_stats
    assert (after.name, after.version) == (MODEL, "1")
    assert after.inference_count - before.inference_count == 1
    assert after.execution_count == after.inference_count
    for name, count in {"success": 1, "fail": 1, "queue": 1, "compute_infer": 1}.items():
        was, now = (getattr(each.inference_stats, name) for each in (before, after))
        assert now.count - was.count == count
        assert now.ns > was.ns
    assert after.last_inference >= before.last_inference


NOT_HERE: dict[str, Callable[[Any], object]] = {
    "ModelMetadata": lambda triton: triton.get_model_metadata("resnet"),
    "ModelConfig": lambda triton: triton.get_model_config(MODEL, "2"),
    "ModelStatistics": lambda triton: triton.get_inference_statistics("resnet"),
    "ModelInfer": lambda triton: triton.infer("resnet", []),
}


@pytest.mark.parametrize("ask", NOT_HERE.values(), ids=NOT_HERE.keys())
def test_a_model_that_is_not_here_is_not_found(ask: Callable[[Any], object], triton: Any) -> None:
    """The message names the model that is asked for, and those that are here."""
    with pytest.raises(
        InferenceServerException, match=r"no model '(resnet|attention:2)', expected .*attention"
    ) as refused:
        ask(triton)
    assert refused.value.status() == "StatusCode.NOT_FOUND"


NOT_OFFERED: dict[str, Callable[[Any], object]] = {
    "RepositoryModelLoad": lambda triton: triton.load_model(MODEL),
    "RepositoryModelUnload": lambda triton: triton.unload_model(MODEL),
    "SystemSharedMemoryStatus": lambda triton: triton.get_system_shared_memory_status(),
    "CudaSharedMemoryStatus": lambda triton: triton.get_cuda_shared_memory_status(),
    "TraceSetting": lambda triton: triton.get_trace_settings(),
    "LogSettings": lambda triton: triton.get_log_settings(),
}


@pytest.mark.parametrize("name", NOT_OFFERED)
def test_what_is_not_offered_says_so(name: str, triton: Any) -> None:
    """Methods that this server does not have are UNIMPLEMENTED, by name."""
    with pytest.raises(InferenceServerException, match=f"^.*{name} is not offered") as refused:
        NOT_OFFERED[name](triton)
    assert refused.value.status() == "StatusCode.UNIMPLEMENTED"


def test_a_program_may_have_both(triton: Any) -> None:
    """A server in the process of Triton's client answers: their messages do not clash."""
    with qkv.local() as client:
        assert client.attention([[0.5]]).output.tolist() == [[0.5]]
    assert triton.is_server_live()
