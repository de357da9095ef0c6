"""What Envoy counts. Its admin address is for its own network only, so a container of our image asks there."""

import json
from dataclasses import dataclass
from typing import Any

from compose_test.commands import run
from compose_test.project import IMAGE

ASK = (
    "import sys, urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9901/' + sys.argv[1]).read().decode())"
)


@dataclass(frozen=True, slots=True)
class Host:
    """A server, as Envoy sees it."""

    healthy: bool
    answered: int  # calls, since Envoy knows the server


def hosts(container: str) -> dict[str, Host]:
    """The servers that calls are sent to, by IP address."""
    clusters = _ask(container, "clusters?format=json")["cluster_statuses"]
    (servers,) = (cluster for cluster in clusters if cluster["name"] == "servers")
    return {
        status["address"]["socket_address"]["address"]: _host(status) for status in servers.get("host_statuses", ())
    }


def connections(container: str) -> int:
    """How many connections there were to Envoy's port for calls."""
    return _counter(container, "http.calls.downstream_cx_total")


def retries(container: str) -> int:
    """How many calls Envoy has sent again."""
    return _counter(container, "cluster.servers.upstream_rq_retry")


def _host(status: dict[str, Any]) -> Host:
    values = {stat["name"]: int(stat.get("value", 0)) for stat in status["stats"]}
    return Host(healthy=status["health_status"] == {"eds_health_status": "HEALTHY"}, answered=values["rq_success"])


def _counter(container: str, name: str) -> int:
    (counter,) = _ask(container, f"stats?format=json&filter=^{name}$")["stats"]
    return int(counter["value"])


def _ask(container: str, path: str) -> Any:
    network = f"--network=container:{container}"
    return json.loads(run("docker", "run", "--rm", network, IMAGE, "python", "-c", ASK, path))
