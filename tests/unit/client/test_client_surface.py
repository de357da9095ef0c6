"""The face of the package: names, signatures, and what is refused before anything is sent."""

import asyncio
import inspect
import json
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest

import qkv

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


@pytest.mark.parametrize("name", ["attention", "multi_head_attention", "health"])
def test_both_clients_have_the_same_methods(name: str) -> None:
    """A method has the same name, arguments and documentation on both clients, and is a coroutine on one."""
    blocking, awaited = getattr(qkv.Client, name), getattr(qkv.AsyncClient, name)
    assert inspect.signature(blocking) == inspect.signature(awaited)
    assert blocking.__doc__ == awaited.__doc__
    assert blocking.__name__ == awaited.__name__ == name
    assert asyncio.iscoroutinefunction(awaited) != asyncio.iscoroutinefunction(blocking)


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
    assert exported - of_calls == {"QkvError", "MalformedOperandError"}
    assert issubclass(qkv.InvalidRequestError, ValueError)
    assert issubclass(qkv.MalformedOperandError, ValueError)
    assert issubclass(qkv.DeadlineExceededError, TimeoutError)
    bare = qkv.CallError("nothing more", code=grpc.StatusCode.UNKNOWN)
    assert (bare.reason, bare.metadata) == ("", {})
