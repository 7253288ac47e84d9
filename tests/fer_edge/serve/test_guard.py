"""Who may ask: foreign names, foreign pages, and those without the token."""

from __future__ import annotations

import socket
from unittest.mock import Mock, create_autospec

import pytest

from fer_edge import ConfigurationError
from fer_edge.serve.settings import ServerSettings, reachable_name

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("httpx", reason="no httpx to ask the server with")

import httpx
from running_server import Running, RunServer
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

TOKEN = "a token of twenty-six char"  # noqa: S105 - for this test only


@pytest.fixture(scope="module")
def locked(run_server: RunServer) -> Running:
    """A server that asks for its token."""
    return run_server(token=TOKEN)


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/predict", "/models/none"])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost.evil.example:8000", ""])
def test_a_name_that_is_not_ours_is_refused(server: Running, path: str, host: str) -> None:
    answer = httpx.get(server.address + path, headers={"host": host})
    assert answer.status_code == 403


def test_a_rebinding_name_is_refused_although_its_origin_is_the_same(server: Running) -> None:
    name = f"rebound.example:{server.port}"
    headers = {"host": name, "origin": f"http://{name}", "content-type": "image/jpeg"}
    answer = httpx.post(f"{server.address}/v1/predict", content=b"x", headers=headers)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "origin", ["null", "https://evil.example", "http://127.0.0.1:1", "file://"]
)
def test_a_page_from_elsewhere_is_refused(server: Running, origin: str) -> None:
    headers = {"origin": origin, "content-type": "image/jpeg"}
    answer = httpx.post(f"{server.address}/v1/predict", content=b"x", headers=headers)
    assert answer.status_code == 403

    with pytest.raises(InvalidStatus) as refused, connect(server.stream, origin=origin):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
def test_the_names_of_the_loopback_are_ours(server: Running, name: str) -> None:
    headers = {"host": f"{name}:{server.port}", "origin": f"http://{name}:{server.port}"}
    assert httpx.get(f"{server.address}/healthz", headers=headers).status_code == 200


def test_every_answer_carries_the_headers(server: Running) -> None:
    for path in ("/", "/healthz", "/page.json", "/none"):
        headers = httpx.get(server.address + path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["permissions-policy"].startswith("camera=(self)")
        assert "server" not in headers
    assert httpx.get(f"{server.address}/healthz").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    ["/../pyproject.toml", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/models/../page.py"],
)
def test_no_path_leads_out_of_the_page(server: Running, path: str) -> None:
    assert httpx.get(server.address + path).status_code == 404


def test_without_the_token_nothing_but_the_health_check_answers(locked: Running) -> None:
    assert httpx.get(f"{locked.address}/healthz").status_code == 200
    for path in ("/page.json", "/metrics", "/openapi.json", "/models/x"):
        assert httpx.get(locked.address + path).status_code == 401
    with pytest.raises(InvalidStatus) as refused, connect(locked.stream):
        pass
    assert refused.value.response.status_code == 401


def test_the_token_opens_as_a_bearer(locked: Running) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert httpx.get(f"{locked.address}/page.json", headers=headers).status_code == 200
    assert (
        httpx.get(
            f"{locked.address}/page.json", headers={"authorization": "Bearer guess"}
        ).status_code
        == 401
    )


def test_a_subprotocol_carries_the_token(run_server: RunServer) -> None:
    word = "0123456789abcdef-token"
    locked = run_server(token=word)
    offered = ["fer_edge", f"fer_edge-token.{word}"]
    with connect(locked.stream, subprotocols=offered) as socket:
        assert socket.subprotocol == "fer_edge"


def test_a_token_in_the_address_does_not_open(locked: Running) -> None:
    answer = httpx.get(f"{locked.address}/page.json", params={"token": TOKEN})
    assert answer.status_code == 401


def test_a_browser_is_led_to_the_form_and_gets_a_cookie_for_the_token(locked: Running) -> None:
    with httpx.Client(base_url=locked.address, headers={"accept": "text/html"}) as client:
        led = client.get("/")
        assert (led.status_code, led.headers["location"]) == (303, "/login")
        assert 'name="token"' in client.get("/login").text

        refused = client.post("/login", data={"token": "a guess that is wrong"})
        assert refused.status_code == 401
        assert "not the token" in refused.text

        taken = client.post("/login", data={"token": TOKEN})
        cookie = taken.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert TOKEN not in cookie
        assert client.get("/").status_code == 200


def test_a_server_beyond_the_loopback_needs_a_token() -> None:
    with pytest.raises(ConfigurationError, match="give a token"):
        ServerSettings.for_address("0.0.0.0", 8000)  # noqa: S104 - it is refused
    with pytest.raises(ConfigurationError, match="at least 16"):
        ServerSettings.for_address("0.0.0.0", 8000, token="a" * 15)  # noqa: S104 - as above


def test_another_origin_brings_its_host() -> None:
    settings = ServerSettings.for_address(
        "192.0.2.1", 8000, token=TOKEN, origins=["https://Faces.example.org/"]
    )
    assert settings.hosts == {"192.0.2.1:8000", "faces.example.org"}
    assert settings.origins == {"http://192.0.2.1:8000", "https://faces.example.org"}


@pytest.mark.parametrize(
    "origin", ["faces.example.org", "ftp://x", "http://x/path", "http://x:port"]
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ConfigurationError, match="an origin is like"):
        ServerSettings.for_address("127.0.0.1", 8000, origins=[origin])


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """The socket by which the system is asked for this machine's address."""
    double: Mock = create_autospec(socket.socket, instance=True)
    double.__enter__.return_value = double
    monkeypatch.setattr(socket, "socket", create_autospec(socket.socket, return_value=double))
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    return double


@pytest.mark.parametrize(
    ("host", "own", "called"),
    [
        ("0.0.0.0", "192.0.2.7", "192.0.2.7:8000"),  # noqa: S104 - nothing is bound
        ("::", "2001:db8::7", "[2001:db8::7]:8000"),
    ],
)
def test_a_server_on_all_addresses_answers_to_that_of_its_machine(
    probe: Mock, host: str, own: str, called: str
) -> None:
    probe.getsockname.return_value = (own, 40000)
    assert reachable_name(host) == own
    assert called in ServerSettings.for_address(host, 8000, token=TOKEN).hosts


def test_without_a_network_it_is_reached_from_this_machine(probe: Mock) -> None:
    probe.connect.side_effect = OSError("Network is unreachable")
    assert reachable_name("::") == "localhost"


@pytest.mark.parametrize("host", ["192.0.2.7", "faces.example.org", "127.0.0.1"])
def test_a_server_on_one_address_is_called_by_it(host: str) -> None:
    assert reachable_name(host) == host
