"""Settings of a server: who may use it, and how much."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fer_edge.errors import ConfigurationError

MIN_TOKEN = 16
"""The least length of a token, so that guessing one is hopeless."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - told apart, not bound to


@dataclass(frozen=True)
class Limits:
    """What one client may cost. Sizes in bytes or pixels, times in seconds."""

    message_bytes: int = 2 << 20
    body_bytes: int = 25 << 20
    live_pixels: int = 4_000_000
    photo_pixels: int = 25_000_000
    clients: int = 64
    connections: int = 256
    idle: float = 30.0
    decoding_threads: int = 2
    waiting_pictures: int = 16


@dataclass(frozen=True)
class ServerSettings:
    """The names that the server answers to, and its token.

    ``hosts`` are the allowed values of the header Host, ``origins`` those of Origin. So pages of
    other sites are refused, and pages that reach this server by another name (DNS rebinding).
    ``token`` is None if none is needed; only a server on the loopback may do without.
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    token: str | None = None
    secure: bool = False
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def for_address(
        cls,
        host: str,
        port: int,
        *,
        token: str | None = None,
        origins: Iterable[str] = (),
        secure: bool = False,
        limits: Limits | None = None,
    ) -> ServerSettings:
        """Settings of a server that is bound to ``host`` and ``port``.

        ``origins`` are addresses beside those of this machine by which browsers reach it, such as
        ``https://faces.example.org`` of a proxy in front. Raises ConfigurationError for a short
        token, an origin that is none, and a server beyond the loopback without a token.
        """
        if token is None and not is_loopback(host):
            raise ConfigurationError(
                f"a server on {host} can be reached from outside: give a token"
            )
        if token is not None and (len(token) < MIN_TOKEN or not token.isascii()):
            raise ConfigurationError(f"a token has at least {MIN_TOKEN} ASCII characters")
        scheme = "https" if secure else "http"
        names = {_netloc(name, port, scheme) for name in _names(host)}
        allowed = {f"{scheme}://{name}" for name in names} | {_origin(one) for one in origins}
        hosts = frozenset(origin.partition("://")[2] for origin in allowed)
        return cls(hosts, frozenset(allowed), token, secure, limits or Limits())


def new_token() -> str:
    """A token that cannot be guessed, of 32 characters."""
    return secrets.token_urlsafe(24)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that is bound to ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def reachable_name(host: str) -> str:
    """``host``; if a server there is bound to all addresses, that by which others reach it."""
    if not _is_everywhere(host):
        return host
    is_v6 = ":" in host
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # sends nothing: the system only chooses the address that it would send from
            probe.connect(("2001:db8::1" if is_v6 else "192.0.2.1", 9))
            return str(probe.getsockname()[0])
    except OSError:  # no network
        return "localhost"


def _is_everywhere(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _names(host: str) -> set[str]:
    """What a browser may call a server that is bound to ``host``."""
    if is_loopback(host):
        return {host, "localhost", "127.0.0.1", "::1"}
    if not _is_everywhere(host):
        return {host}
    name = socket.gethostname()
    try:
        found = {str(info[4][0]).partition("%")[0] for info in socket.getaddrinfo(name, None)}
    except OSError:  # a machine that does not know its own name
        found = set()
    found |= {reachable_name(every) for every in _EVERYWHERE}
    return {name, "localhost", "127.0.0.1", "::1", *found}


def _netloc(name: str, port: int, scheme: str) -> str:
    bracketed = f"[{name}]" if ":" in name else name.lower()
    return bracketed if port == _DEFAULT_PORTS[scheme] else f"{bracketed}:{port}"


def _origin(text: str) -> str:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path not in ("", "/"):
        raise ConfigurationError(
            "an origin is like https://faces.example.org or http://192.168.1.5:8000, "
            f"not {text!r:.200}"
        )
    name = _netloc(parts.hostname, port or _DEFAULT_PORTS[parts.scheme], parts.scheme)
    return f"{parts.scheme}://{name}"
