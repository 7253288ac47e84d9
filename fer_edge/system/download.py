"""One file from the network, with its hash checked before anything sees it."""

from __future__ import annotations

import http.client
import ipaddress
import urllib.request
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from fer_edge.errors import ConfigurationError, DownloadError
from fer_edge.system.files import atomic_path, sha256_of
from fer_edge.system.progress import progress

__all__ = ["fetch"]

_CHUNK = 1 << 16


def fetch(
    url: str, target: Path, sha256: str, *, max_bytes: int = 1 << 28, timeout_s: float = 30.0
) -> Path:
    """Put the file at ``url`` to ``target``, whole or not at all, and return ``target``.

    A ``target`` that has the hash already is kept and nothing is fetched; one that has another
    hash is replaced. ``sha256`` is in hexadecimal. ``timeout_s`` bounds every single wait for
    the network, ``max_bytes`` the file.

    Raises DownloadError if the network, the server or the disk fails or the hash differs, and
    ConfigurationError for an address that is not https (http is accepted from this very machine).
    """
    _check_address(url)
    try:
        if target.is_file() and sha256_of(target) == sha256:
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(target) as temporary:
            with temporary.open("wb") as stream:
                _receive(url, stream, max_bytes, timeout_s)
            if (came := sha256_of(temporary)) != sha256:
                raise _RefusedError(f"what came has the sha256 {came}, expected is {sha256}")
    except (_RefusedError, OSError, http.client.HTTPException) as problem:
        if isinstance(problem, HTTPError):
            problem.close()
        raise DownloadError(
            f"{url} could not be fetched: {_reason(problem)}. Try again, or download the file on "
            f"another machine and copy it to {target} (sha256 {sha256})"
        ) from problem
    return target


class _RefusedError(Exception):
    """An answer that is not taken."""


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect to where ``fetch`` would not go by itself."""

    def redirect_request(  # noqa: PLR0917 - the signature is urllib's
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        try:
            _check_address(newurl)
        except ConfigurationError as problem:
            raise _RefusedError(f"it redirects to {newurl}, and {problem}") from problem
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _receive(url: str, stream: IO[bytes], max_bytes: int, timeout_s: float) -> None:
    handlers: list[urllib.request.BaseHandler] = [_CheckedRedirects()]
    if _is_loopback(urlsplit(url).hostname):
        # a proxy could not reach this machine's own loopback address
        handlers.append(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={"User-Agent": "fer_edge"})  # noqa: S310 - checked
    with urllib.request.build_opener(*handlers).open(request, timeout=timeout_s) as answer:
        announced = answer.headers.get("Content-Length")
        total = int(announced) if announced and announced.isdigit() else None
        if total is not None and total > max_bytes:
            raise _RefusedError(f"it has {total} bytes, and at most {max_bytes} are taken")
        received = 0
        with progress(total or max_bytes, f"fetching {Path(urlsplit(url).path).name}") as bar:
            while chunk := answer.read(_CHUNK):
                received += len(chunk)
                if received > max_bytes:
                    raise _RefusedError(f"it has more than the {max_bytes} bytes that are taken")
                stream.write(chunk)
                bar.advance(len(chunk))
        if total is not None and received < total:
            raise _RefusedError(f"it broke off after {received} of {total} bytes")


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    local = parts.scheme == "http" and _is_loopback(parts.hostname)
    if not parts.hostname or not (parts.scheme == "https" or local):
        raise ConfigurationError(f"an address to fetch from begins with https://, unlike {url!r}")


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _reason(problem: BaseException) -> str:
    if isinstance(problem, HTTPError):
        return f"the server answered {problem.code} {problem.reason}"
    if isinstance(problem, URLError):
        return f"the server cannot be reached ({problem.reason})"
    if isinstance(problem, TimeoutError):
        return "the server stopped answering"
    return str(problem) or type(problem).__name__
