"""The checks, in order. Each is a function that answers with the line of the summary, or raises what is wrong."""

import base64
import json
import time
import urllib.request
from collections.abc import Callable

import numpy as np
from google.rpc.status_pb2 import Status

import qkv
from compose_test import envoy, grpc_web, tiny_models
from compose_test.commands import run, say
from compose_test.project import ENVOY, GRPC, IMAGE, WEB, Project, inspect, ip_address, running
from compose_test.traffic import traffic
from qkv.v1.attention_pb2 import AttentionRequest
from qkv.v1.tensor_pb2 import Matrix, Operand

LARGEST_IMAGE = 225e6  # bytes
CONFINED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true")
CALLS = 300
PATIENCE = 60  # seconds until what is waited for is given up
PAGE = "http://localhost:3000"  # the origin of a page


class CheckError(Exception):
    """What a check found."""


def check(project: Project) -> int:
    """Run every check and print the summary; the exit status."""
    lines: list[str] = []
    failed = 0
    project.down()
    try:
        say("building the image")
        project.compose("build", "server")
        for each in CHECKS:
            say(each.__doc__ or "")
            try:
                lines.append(each(project))
            except Exception as error:  # noqa: BLE001 - whatever it is, the other checks are made
                failed += 1
                lines.append(f"{each.__name__.replace('_', ' ')}: failed: {type(error).__name__}: {error}")
                say(f"{lines[-1]}\n{project.said()}")
    finally:
        project.down()
        run("docker", "image", "rm", "--force", IMAGE)
    print(*lines, f"compose: {len(lines) - failed} passed, {failed} failed", sep="\n", flush=True)
    return 1 if failed else 0


def image_size(_: Project) -> str:
    """The image is small."""
    size = int(run("docker", "image", "inspect", "--format", "{{.Size}}", IMAGE))
    if size > LARGEST_IMAGE:
        raise CheckError(f"{size / 1e6:.0f} MB, expected at most {LARGEST_IMAGE / 1e6:.0f}")
    own = int(run("docker", "run", "--rm", IMAGE, "du", "--summarize", "--bytes", "/venv").split()[0])
    return f"image size: {size / 1e6:.0f} MB ({own / 1e6:.0f} MB on top of its base)"


def start(project: Project) -> str:
    """The image serves by itself, with nothing that it may write to or be allowed."""
    begin = time.monotonic()
    options = [(f"grpc.{bound}_reconnect_backoff_ms", 50) for bound in ("initial", "max")]
    with running(*CONFINED, f"--publish={project.address(GRPC)}:50051"):
        with qkv.Client(project.address(GRPC), wait_for_ready=True, timeout=PATIENCE, options=options) as client:
            while client.health() is not qkv.Health.SERVING:
                pass
        seconds = time.monotonic() - begin
    return f"start: {seconds:.1f} s from docker run to SERVING"


def demo_client(project: Project) -> str:
    """`docker compose up` serves, and its demo ends well."""
    project.compose("up", "--detach")
    (client,) = project.containers("client")
    status = run("docker", "wait", client)
    said = run("docker", "logs", client)
    if status != "0" or "0.393868" not in said:  # the first of the attention weights
        raise CheckError(f"exit status {status}:\n{said}")
    return "demo client: passed"


def http(project: Project) -> str:
    """The server answers JSON over HTTP."""
    question = json.dumps({"query": {"matrix": {"rows": 1, "columns": 2, "values": [1, 2]}}}).encode()
    request = urllib.request.Request(
        f"http://{project.address(WEB)}{grpc_web.PATH}", question, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:  # noqa: S310 - of this machine
        answer = json.load(response)
    if answer["output"]["matrix"]["values"] != [1, 2]:  # one key has all the weight
        raise CheckError(f"not the value: {answer}")
    return "HTTP: passed"


def models(project: Project) -> str:
    """Models that are put into the folder of a running server are served, GGUF too, as transformers computes them."""
    project.models.rmdir()  # which was missing when the server started, so that the engine made it
    project.models.mkdir()
    project.compose("restart", "server")
    with qkv.Client(project.address(GRPC), wait_for_ready=True, timeout=PATIENCE) as client:
        if before := tiny_models.states(client):
            raise CheckError(f"an empty folder has {before}")
        begin = time.monotonic()
        tiny_models.put(project.models)
        _wait_until("two models", lambda: list(tiny_models.states(client).values()) == ["ready", "ready"])
        seconds = time.monotonic() - begin
        if different := tiny_models.differences(client):
            raise CheckError(f"not what transformers computes: {different}")
    return f"models: a folder and a GGUF file served {seconds:.1f} s after they were put there"


def replicas(project: Project) -> str:
    """Calls of one connection are spread over three servers."""
    project.compose("--profile", "scale", "up", "--detach")
    (proxy,) = project.containers("envoy")
    _wait_until("three healthy servers", lambda: [host.healthy for host in envoy.hosts(proxy).values()] == [True] * 3)
    before, connections = envoy.hosts(proxy), envoy.connections(proxy)
    with qkv.Client(project.address(ENVOY), retries=False) as client:
        for _ in range(CALLS):
            client.attention([[1.0, 2.0]])
    after = envoy.hosts(proxy)
    split = [after[server].answered - before[server].answered for server in before]
    connections = envoy.connections(proxy) - connections
    if connections != 1 or sum(split) != CALLS or min(split) < CALLS / 10:
        raise CheckError(f"{CALLS} calls by {connections} connections: {split}")
    return f"replicas: {CALLS} calls of one connection: {'/'.join(map(str, split))}"


def kill_and_return_under_load(project: Project) -> str:
    """A server that is killed costs no call, and takes calls again when it is back."""
    (proxy,) = project.containers("envoy")
    victim = project.containers("replica")[0]
    with traffic(project.address(ENVOY)) as calls:
        calls.go_on(CALLS)
        retries, begin = envoy.retries(proxy), time.monotonic()
        run("docker", "exec", victim, "sh", "-c", "kill -KILL -1")  # all but the init, which ends with them
        _wait_until("its restart", lambda: inspect(victim)["RestartCount"] == 1 and inspect(victim)["State"]["Running"])
        _wait_for_calls(proxy, victim)
        seconds, retries = time.monotonic() - begin, envoy.retries(proxy) - retries
        calls.go_on(CALLS)
    if calls.failures:
        raise CheckError(f"{calls.calls} calls, {len(calls.failures)} failed: {set(calls.failures)}")
    counts = f"{calls.calls} calls, 0 failed"
    return f"kill and return under load: {counts} ({retries} sent again; takes calls again after {seconds:.1f} s)"


def stop_and_return_under_load(project: Project) -> str:
    """A server that is stopped finishes its calls and costs none, and takes calls again when it is back."""
    (proxy,) = project.containers("envoy")
    stopped = project.containers("replica")[0]
    with traffic(project.address(ENVOY)) as calls:
        calls.go_on(CALLS)
        run("docker", "stop", stopped)
        state = inspect(stopped)["State"]
        run("docker", "start", stopped)
        _wait_for_calls(proxy, stopped)
        calls.go_on(CALLS)
    if calls.failures or state["ExitCode"] != 0:
        raise CheckError(f"exit status {state['ExitCode']}; {calls.calls} calls: {set(calls.failures)}")
    return f"stop and return under load: {calls.calls} calls, 0 failed"


def grpc_web_through_envoy(project: Project) -> str:
    """A page of another origin may call by gRPC-Web, and sees answers and error details."""
    address = project.address(ENVOY)
    if grpc_web.preflight(address, PAGE).get("access-control-allow-origin") != PAGE:
        raise CheckError("the preflight of a page was not granted")
    if "access-control-allow-origin" in grpc_web.preflight(address, "https://elsewhere.example"):
        raise CheckError("the preflight of a page from anywhere was granted")
    values = [1.0, 2.0, 3.0, 4.0]
    square = Operand(matrix=Matrix(rows=2, columns=2, values=values))
    answer = grpc_web.attend(address, AttentionRequest(query=square), PAGE)
    x = np.reshape(values, (2, 2))
    weights = np.exp(x @ x.T / np.sqrt(2))
    expected = weights / weights.sum(axis=1, keepdims=True) @ x
    if answer.trailers.get("grpc-status") != "0" or answer.response is None:
        raise CheckError(f"no answer: {answer}")
    if not np.allclose(answer.response.output.matrix.values, expected.ravel(), rtol=1e-12):
        raise CheckError(f"not softmax(x·xᵀ/√2)·x: {answer.response}")
    if "grpc-status-details-bin" not in answer.headers.get("access-control-expose-headers", ""):
        raise CheckError(f"a page may not see error details: {answer.headers}")
    refusal = grpc_web.attend(address, AttentionRequest(), PAGE).trailers
    details = Status.FromString(base64.b64decode(refusal.get("grpc-status-details-bin", "") + "=="))
    if refusal.get("grpc-status") != "3" or not details.details:
        raise CheckError(f"no details of a refusal: {refusal}")
    return "gRPC-Web through Envoy: passed"


def down(project: Project) -> str:
    """Down leaves no container, network or volume."""
    project.down()
    if left := project.left():
        raise CheckError(f"left: {left}")
    return "down leaves nothing: passed"


CHECKS: tuple[Callable[[Project], str], ...] = (
    image_size,
    start,
    demo_client,
    http,
    models,
    replicas,
    kill_and_return_under_load,
    stop_and_return_under_load,
    grpc_web_through_envoy,
    down,
)


def _wait_for_calls(proxy: str, server: str) -> None:
    """Until a server that was away is healthy to Envoy and has answered again."""
    before = envoy.hosts(proxy)

    def answers() -> bool:
        address = ip_address(server)  # which it has not at once, and may be another one than before
        host = envoy.hosts(proxy).get(address)
        known = before[address].answered if address in before else 0
        return host is not None and host.healthy and host.answered > known

    _wait_until("calls of the server that is back", answers)


def _wait_until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise CheckError(f"waited {PATIENCE} s in vain for {what}")
        time.sleep(0.1)
