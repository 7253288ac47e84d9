"""Checks each request before it reaches the application, and adds headers to each answer."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fer_edge.serve.settings import ServerSettings

COOKIE = "fer_edge"
PROTOCOL = "fer_edge"
"""Subprotocol of the WebSocket that the server speaks."""

TOKEN_PROTOCOL = "fer_edge-token."  # noqa: S105 - a prefix
"""A client without cookies offers this with the token, beside ``PROTOCOL``."""

HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob:; "
        "media-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}

_LOGIN = "/login"
_OPEN_PATHS = {"/healthz", _LOGIN, "/icon.svg", "/style.css"}
"""Served without a token: a health check has none, and the form asks for it."""

_COOKIE_AGE = 24 * 3600
_WRONG_TOKEN_DELAY = 1.0
_FORM_BYTES, _FORM_WITHIN = 4096, 10.0
_FORBIDDEN, _UNAUTHORIZED = 403, 401


class Guard:
    """Refuses foreign Hosts and Origins with 403, and requests without the token with 401.

    Both are compared with the server's own lists, never with each other: an attacker can make a
    request whose Host and Origin are the same.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app, self._settings = app, settings
        token = (settings.token or "").encode()
        self._token = token
        self._cookie = hmac.new(token, b"fer_edge cookie", hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what is allowed (ASGI)."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer = self._with_headers(scope, send)
        if problem := self._foreign(headers):
            await _refuse(scope, receive, answer, _FORBIDDEN, problem)
        elif scope["path"] == _LOGIN and scope["type"] == "http":
            await self._login(scope, receive, answer)
        elif self._settings.token and scope["path"] not in _OPEN_PATHS and not self._known(headers):
            if scope["type"] == "http" and "text/html" in headers.get("accept", ""):
                await RedirectResponse(_LOGIN, 303)(scope, receive, answer)
            else:
                await _refuse(
                    scope, receive, answer, _UNAUTHORIZED, "this server asks for its token"
                )
        else:
            await self._app(scope, receive, answer)

    def _foreign(self, headers: Headers) -> str | None:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or hosts[0].lower() not in self._settings.hosts:
            return f"this server is not called {', '.join(hosts)!r:.200}; start it with --origin"
        if origins and (len(origins) > 1 or origins[0].lower() not in self._settings.origins):
            return f"a page from {', '.join(origins)!r:.200} may not ask this server"
        return None

    def _known(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(given.strip()):
            return True
        for offered in headers.get("sec-websocket-protocol", "").split(","):
            name = offered.strip()
            if name.startswith(TOKEN_PROTOCOL) and self._is_token(name[len(TOKEN_PROTOCOL) :]):
                return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and _same(cookie.value.encode(), self._cookie.encode())

    def _is_token(self, given: str) -> bool:
        return _same(given.encode(), self._token)

    async def _login(self, scope: Scope, receive: Receive, send: Send) -> None:
        response: Response
        if scope["method"] != "POST":
            response = HTMLResponse(_FORM.format(problem=""), headers={"cache-control": "no-store"})
        else:
            fields = parse_qs((await _small_body(receive)).decode("ascii", "replace"))
            if self._settings.token and self._is_token(fields.get("token", [""])[0]):
                response = RedirectResponse("/", 303)
                response.set_cookie(
                    COOKIE,
                    self._cookie,
                    max_age=_COOKIE_AGE,
                    httponly=True,
                    samesite="strict",
                    secure=self._settings.secure,
                )
            else:
                await asyncio.sleep(_WRONG_TOKEN_DELAY)
                problem = '<p role="alert">That is not the token of this server.</p>'
                response = HTMLResponse(_FORM.format(problem=problem), 401)
        await response(scope, receive, send)

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        async def answer(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
                if self._settings.secure:
                    headers["strict-transport-security"] = "max-age=31536000"
            await send(message)

        return answer


def _same(given: bytes, expected: bytes) -> bool:
    return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(expected).digest())


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, problem: str) -> None:
    # before a WebSocket is accepted, starlette sends this as the answer to its handshake
    headers = {"www-authenticate": "Bearer"} if status == _UNAUTHORIZED else None
    await JSONResponse({"detail": problem}, status, headers)(scope, receive, send)


async def _small_body(receive: Receive) -> bytes:
    """The body of a form; nothing if it is too large or slow."""
    body = b""
    with suppress(asyncio.TimeoutError):
        while len(body) <= _FORM_BYTES:
            message = await asyncio.wait_for(receive(), _FORM_WITHIN)
            body += bytes(message.get("body", b""))
            if not message.get("more_body"):
                return body
    return b""


_FORM = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Token · fer_edge</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><link rel="icon" href="icon.svg">
<link rel="stylesheet" href="style.css"></head>
<body><header><h1><img src="icon.svg" alt="" width="28" height="28">
The token of this server</h1></header>
<main class="api">{problem}<form method="post" class="settings"><label>Token
<input name="token" type="password" required autofocus autocomplete="current-password"></label>
<button class="main">Continue</button></form>
<p>The server printed it when it was started, or its operator knows it.</p></main></body></html>
"""
