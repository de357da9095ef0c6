"""The face of the package: names, signatures, and what is refused before anything is sent."""

import asyncio
import inspect
import json
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest

import qkv
from qkv import codec
from qkv._attention import attention as attention_call
from qkv._attention import multi_head_attention

X = np.ones((2, 2))

Method = Callable[..., Any]


@pytest.fixture
def attention() -> Iterator[Method]:
    """The method of a client whose server does not exist: what it raises was found before anything was sent."""
    with qkv.Client("127.0.0.1:1", retries=False) as client:
        yield client.attention


def test_what_is_exported_is_what_is_public() -> None:
    """`__all__` has every public name of the package that is no module, each once."""
    public = {name for name, value in vars(qkv).items() if name[0] != "_" and not isinstance(value, types.ModuleType)}
    assert sorted(qkv.__all__) == sorted(public)


@pytest.mark.parametrize("name", qkv.__all__)
def test_what_is_exported_is_documented(name: str) -> None:
    """Every exported class and function has a docstring of its own."""
    exported = getattr(qkv, name)
    assert exported.__doc__
    assert not exported.__doc__.startswith(f"{name}(")  # what dataclasses write for those that have none


@pytest.mark.parametrize("client", [qkv.Client, qkv.AsyncClient])
def test_the_signature_shows_every_argument(client: type[Any]) -> None:
    """Editors see each array and option of attention by name, the options by keyword only."""
    parameters = inspect.signature(client.attention).parameters
    assert list(parameters)[:7] == ["self", "query", "key", "value", "heads", "kv_heads", "axis_order"]
    assert set(parameters) >= {"mask", "causal", "window", "scale", "outputs", "timeout"}
    assert set(parameters) >= set(qkv.AttentionOptions.__annotations__)
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in qkv.AttentionOptions.__annotations__)
    assert inspect.Parameter.VAR_KEYWORD not in {parameter.kind for parameter in parameters.values()}


@pytest.mark.parametrize(
    ("name", "arrays", "options"),
    [
        ("multi_head_attention", ["query", "key", "value", "heads", "kv_heads"], qkv.MultiHeadOptions),
        (
            "differentiate",
            ["d_output", "query", "key", "value", "heads", "kv_heads", "axis_order"],
            qkv.GradientOptions,
        ),
    ],
)
def test_the_signature_shows_the_options_of_the_method(name: str, arrays: list[str], options: Any) -> None:
    """Each method shows the options that it takes, projections among them, and no other."""
    parameters = inspect.signature(getattr(qkv.Client, name)).parameters
    assert list(parameters) == ["self", *arrays, *options.__annotations__]
    assert {"query_weight", "output_bias", "add_zero_attention", "mask", "rotary"} <= set(parameters)


def test_gradients_take_no_quantities() -> None:
    """There is nothing besides gradients to ask `differentiate` for."""
    assert set(qkv.MultiHeadOptions.__annotations__) - set(qkv.GradientOptions.__annotations__) == {"outputs"}
    with qkv.Client("127.0.0.1:1", retries=False) as client, pytest.raises(TypeError, match="unknown option outputs"):
        client.differentiate(X, X, outputs=["weights"])  # type: ignore[call-arg]


AWAITED = (
    *("attention", "multi_head_attention", "differentiate", "merge", "health"),
    *("models", "model", "tokenize", "detokenize", "embed", "embed_result", "encode"),
)
STREAMED = ("generate", "chat", "summarize", "translate")


@pytest.mark.parametrize("name", [*AWAITED, *STREAMED])
def test_both_clients_have_the_same_methods(name: str) -> None:
    """A method has the same name, arguments and documentation on both clients; one answer is awaited on one of them."""
    blocking, awaited = getattr(qkv.Client, name), getattr(qkv.AsyncClient, name)
    assert inspect.signature(blocking) == inspect.signature(awaited)
    assert blocking.__doc__ == awaited.__doc__
    assert blocking.__name__ == awaited.__name__ == name
    assert not asyncio.iscoroutinefunction(blocking)
    assert asyncio.iscoroutinefunction(awaited) == (name in AWAITED)


def test_every_method_is_tested_here() -> None:
    """No method of a client is left out of the test above."""
    methods = {name for name in vars(qkv.Client) if not name.startswith("_")} - {"close"}
    assert methods == {*AWAITED, *STREAMED}


def test_importing_the_client_imports_no_more_than_it_needs() -> None:
    """`import qkv` brings neither the server nor what only plots, the command line or tests need."""
    program = "import json, sys, qkv; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    run = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    imported = set(json.loads(run.stdout))
    assert {"qkv", "numpy", "grpc"} <= imported
    assert not imported & {"qkv_server", "matplotlib", "safetensors", "threadpoolctl", "click", "onnx", "hypothesis"}


def test_an_unknown_option_is_refused(attention: Method) -> None:
    """A misspelt option is a TypeError that names it and every option there is."""
    with pytest.raises(TypeError, match="causl") as refused:
        attention(X, causl=True)
    assert all(option in str(refused.value) for option in qkv.AttentionOptions.__annotations__)


@pytest.mark.parametrize(
    ("option", "choices"),
    [
        ("axis_order", ["heads_first", "sequence_first"]),
        ("mask_polarity", ["true_attends", "true_hides"]),
        ("alignment", ["top_left", "bottom_right"]),
        ("empty_row", ["zero", "nan", "mean_value"]),
        ("softmax_axis", ["keys", "queries"]),
    ],
)
@pytest.mark.parametrize("wrong", ["unspecified", "sideways", "", 1])
def test_a_wrong_choice_is_refused(option: str, choices: list[str], wrong: Any, attention: Method) -> None:
    """A choice that is none is a ValueError that names the option and the choices."""
    with pytest.raises(ValueError, match=f"^{option}: ") as refused:
        attention(X, **{option: wrong})
    assert str(refused.value).endswith("expected one of " + ", ".join(map(repr, choices)))


@pytest.mark.parametrize("outputs", [["weight"], ["weights", "unspecified"], "weights", [None]], ids=str)
def test_a_wrong_quantity_is_refused(outputs: Any, attention: Method) -> None:
    """A quantity that is none is a ValueError that names those there are."""
    with pytest.raises(ValueError, match=r"^outputs: .* expected one of 'scores', .*'present_value'$"):
        attention(X, outputs=outputs)


@pytest.mark.parametrize("window", [3, np.int64(3), 2.5, (), (1,), (1, 2, 3)], ids=repr)
def test_a_window_of_one_number_is_refused(window: Any, attention: Method) -> None:
    """A window that is no pair is a TypeError that says what it could mean."""
    with pytest.raises(TypeError, match=r"^window: .* expected \(left, right\)"):
        attention(X, window=window)


@pytest.mark.parametrize("size", [2.5, "2", (), (1,), (1, 2, 3)], ids=repr)
def test_a_block_size_is_one_number_or_two(size: Any, attention: Method) -> None:
    """A block size that is neither a number nor a pair is a TypeError that says what is expected."""
    with pytest.raises(TypeError, match=r"^block_size: is .*, expected a number, or \(queries, keys\)"):
        attention(X, block_map=[[True]], block_size=size)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        (
            "relative_bias",
            {"tabel": X},
            "unknown entry of relative_bias tabel; expected one of bidirectional, max_dist",
        ),
        ("relative_bias", X, "relative_bias: is array"),
        ("relative_bias", {"table": X.astype(complex)}, "relative_bias.table: type complex128 cannot be sent"),
        ("relative_bias", {"table": X, "max_distance": "far"}, "relative_bias.max_distance: "),
        ("alibi", X.astype(complex), "alibi.slopes: type complex128 cannot be sent"),
        ("sinks", X.astype(complex), "sinks: type complex128 cannot be sent"),
        ("block_map", X.astype(complex), "block_map: type complex128 cannot be sent"),
        ("chunk_size", 2.5, "chunk_size: "),
        ("cumulative_query_lengths", [0, 1.5], "cumulative_query_lengths: "),
        ("rotary", True, "rotary: is True, expected a dictionary of base, rotary_size, "),
        ("rotary", {"theta": 1e4}, "unknown entry of rotary theta; expected one of base, dynamic_ntk, "),
        ("rotary", {"base": "large"}, "rotary.base: "),
        ("rotary", {"query_positions": np.ones(2, np.uint32)}, "rotary.query_positions: type uint32 cannot be sent"),
        ("rotary", {"linear": 2.0}, "rotary.linear: is 2.0, expected a dictionary of factor"),
        ("rotary", {"linear": {"scale": 2.0}}, "unknown entry of rotary.linear scale; expected one of factor"),
        ("rotary", {"longrope": {"short_factors": ["a"]}}, "rotary.longrope.short_factors: "),
    ],
)
def test_what_an_option_cannot_be_is_refused(option: str, value: Any, said: str, attention: Method) -> None:
    """What cannot be put into the message is a TypeError that begins with the name of what is wrong."""
    with pytest.raises(TypeError, match=f"^{re.escape(said)}"):
        attention(X, **{option: value})


def test_a_wrong_pairing_is_refused(attention: Method) -> None:
    """A pairing that is none is a ValueError that names those there are."""
    with pytest.raises(ValueError, match=r"^rotary\.pairing: is 'neox', expected one of 'half_split', 'interleaved'$"):
        attention(X, rotary={"pairing": "neox"})


def test_two_scalings_are_refused(attention: Method) -> None:
    """Of two scalings neither is guessed."""
    with pytest.raises(ValueError, match=r"^rotary: has linear and yarn, expected at most one scaling$"):
        attention(X, rotary={"linear": {"factor": 2.0}, "yarn": {"factor": 2.0, "original_length": 8}})


def test_an_option_that_is_none_is_left_out() -> None:
    """None, as what is left out, sends nothing, within a dictionary too."""
    nothing: Any = dict.fromkeys(qkv.MultiHeadOptions.__annotations__)
    del nothing["semantics_version"]
    plain = multi_head_attention(X, heads=1).request.message
    assert multi_head_attention(X, heads=1, **nothing).request.message == plain
    rotary: Any = dict.fromkeys(qkv.RotaryOptions.__annotations__)
    bias: Any = dict.fromkeys(qkv.RelativeBiasOptions.__annotations__)
    assert attention_call(X, rotary=rotary).request.message == attention_call(X, rotary={}).request.message
    assert attention_call(X, alibi=False).request.message == attention_call(X).request.message
    request: Any = attention_call(X, relative_bias=bias).request.message
    assert request.scoring.relative_bias.ByteSize() == 0


@pytest.mark.parametrize("positions", [[], [3, 1], [[3], [1]]], ids=str)
def test_positions_that_python_wrote_are_integers(positions: Any) -> None:
    """Lists of positions are sent as int64, the empty one too, where numbers are float64 elsewhere."""
    request: Any = attention_call(X, rotary={"query_positions": positions}).request.message
    sent = codec.from_operand(request.rotary.query_positions, "query_positions")
    np.testing.assert_array_equal(sent, np.array(positions, np.int64), strict=True)


@pytest.mark.parametrize(("option", "value"), [("heads", 0), ("heads", -1), ("kv_heads", 0)])
def test_head_counts_are_at_least_one(option: str, value: int, attention: Method) -> None:
    """A head count that is not positive is refused: the contract's 0 is said by leaving it out."""
    with pytest.raises(ValueError, match=f"^{option}: is {value}, expected at least 1"):
        attention(X, **{option: value})


@pytest.mark.parametrize("name", ["query", "key", "value", "mask", "past_key", "past_value"])
def test_arrays_that_cannot_be_sent_are_refused_by_name(name: str, attention: Method) -> None:
    """An array of a type that the contract does not have is a TypeError that begins with the argument's name."""
    with pytest.raises(TypeError, match=f"^{name}: type complex128 cannot be sent, expected one of float64"):
        attention(**({"query": X} | {name: X.astype(complex)}))


@pytest.mark.parametrize("missing", ["certificate", "key"])
def test_mutual_tls_needs_both_halves(missing: str) -> None:
    """A certificate without its key, or a key without its certificate, is refused before a file is read."""
    halves = {"certificate": "/nonexistent/tls.crt", "key": "/nonexistent/tls.key"}
    del halves[missing]
    with pytest.raises(ValueError, match="expected both"):
        qkv.Client(tls=qkv.TLS(**halves))


def test_errors_are_a_tree() -> None:
    """Every exported exception is a QkvError, and what an answer can raise is a CallError."""
    exported = {name for name in qkv.__all__ if name.endswith("Error")}
    assert all(issubclass(getattr(qkv, name), qkv.QkvError) for name in exported)
    of_calls = {name for name in exported if issubclass(getattr(qkv, name), qkv.CallError)}
    assert exported - of_calls == {"QkvError", "MalformedOperandError", "UnfinishedError"}
    assert issubclass(qkv.InvalidRequestError, ValueError)
    assert issubclass(qkv.MalformedOperandError, ValueError)
    assert issubclass(qkv.DeadlineExceededError, TimeoutError)
    bare = qkv.CallError("nothing more", code=grpc.StatusCode.UNKNOWN)
    assert (bare.reason, bare.metadata) == ("", {})
