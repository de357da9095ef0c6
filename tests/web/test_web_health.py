"""Health over HTTP: what probes ask by GET, and the standard service."""

from web.asking import HEALTH, Web


def test_liveness_and_readiness(web: Web) -> None:
    """A server that serves is alive and ready."""
    assert [web.get(path).status for path in ("/healthz", "/readyz")] == [200, 200]


def test_the_standard_service(web: Web) -> None:
    """grpc.health.v1 answers for the server, for its service, and for liveness."""
    for body in (b"{}", b'{"service": "qkv.v1.AttentionService"}', b'{"service": "liveness"}'):
        assert web.post(HEALTH, body).json == {"status": "SERVING"}


def test_a_service_that_is_not_here(web: Web) -> None:
    """Another service is NOT_FOUND, with the names of those that there are."""
    reply = web.post(HEALTH, b'{"service": "qkv.v1.Attention"}')
    assert (reply.status, reply.json["code"]) == (404, "not_found")
    assert "no service 'qkv.v1.Attention', expected one of '', 'qkv.v1.AttentionService'" in reply.json["message"]


def test_questions_are_short(web: Web) -> None:
    """A question for health that is no name is refused before it is read."""
    reply = web.post(HEALTH, b'{"service": "' + b"x" * 2**18 + b'"}')
    assert (reply.status, reply.json["code"]) == (429, "resource_exhausted")
