"""Which pages may call: those of the origins that the server was told, and no other."""

import pytest
from serving import ServerProcess
from web.asking import ATTENTION, Reply, Web, web_address
from web.conftest import ORIGIN

ATTEND = f"{ATTENTION}Attend"


def preflight(web: Web, origin: str) -> Reply:
    return web.request(
        "OPTIONS",
        ATTEND,
        origin=origin,
        access_control_request_method="POST",
        access_control_request_headers="content-type,x-grpc-web,connect-protocol-version,grpc-timeout",
    )


def test_a_page_of_the_origin_may_call(web: Web) -> None:
    """The preflight allows what gRPC-Web and Connect send, and the answer lets the page read the status."""
    asked = preflight(web, ORIGIN)
    assert asked.status == 200
    assert asked.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in asked.headers["access-control-allow-methods"]
    for name in ("content-type", "x-grpc-web", "connect-protocol-version", "grpc-timeout"):
        assert name in asked.headers["access-control-allow-headers"].lower()
    answered = web.post(ATTEND, b"{}", origin=ORIGIN)
    assert answered.headers["access-control-allow-origin"] == ORIGIN
    assert "Origin" in answered.headers["vary"]
    for name in ("grpc-status", "grpc-message", "grpc-status-details-bin"):
        assert name in answered.headers["access-control-expose-headers"]


def test_a_page_of_another_origin_may_not(web: Web) -> None:
    """Another origin is told nothing that would let its page call, or read an answer."""
    asked = preflight(web, "http://other.test")
    assert asked.status == 400
    assert "access-control-allow-origin" not in asked.headers
    assert "access-control-allow-origin" not in web.post(ATTEND, b"{}", origin="http://other.test").headers


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [([], {ORIGIN: None, "http://b.test": None}), (["*"], {ORIGIN: "*", "http://b.test": "*"})],
    ids=["none", "any"],
)
def test_no_origin_and_any_origin(origins: list[str], allowed: dict[str, str | None]) -> None:
    """Without the setting no page may call; with * any page may, without credentials."""
    arguments = ["--web-address", "127.0.0.1:0", *[text for origin in origins for text in ("--cors-origin", origin)]]
    with ServerProcess(arguments) as server:
        web = Web(web_address(server))
        for origin, expected in allowed.items():
            for reply in (preflight(web, origin), web.post(ATTEND, b"{}", origin=origin)):
                assert reply.headers.get("access-control-allow-origin") == expected
                assert "access-control-allow-credentials" not in reply.headers
