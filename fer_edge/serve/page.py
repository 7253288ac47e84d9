"""The page's files as the server gives them. No path of a request reaches the file system."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fer_edge.page.site import SiteFile, site_files

_TYPES = {
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    "": "text/plain; charset=utf-8",
}
_ANYTHING = "application/octet-stream"
_INDEX = "index.html"
_OWN = Path(__file__).with_name("static")


def add_page(
    app: FastAPI, models: Sequence[dict[str, Any]], sources: Sequence[dict[str, str]]
) -> None:
    """Serve the page for the server's models and cameras, as ``page.json`` lists them.

    Beside it stands ``/docs``, a page about the API.
    """
    files, _ = site_files(server={"models": models, "sources": sources})
    files[""] = files[_INDEX]
    files["docs"] = SiteFile(_OWN / "docs.html")
    files["docs.js"] = SiteFile(_OWN / "docs.js")
    for name, file in files.items():
        suffix = PurePosixPath(name).suffix
        kind = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, _ANYTHING)
        if name in ("", "docs"):
            kind = "text/html"
        app.add_route(f"/{name}", _Given(file, kind).answer, include_in_schema=False)


class _Given:
    """One file, asked for by its name."""

    def __init__(self, file: SiteFile, kind: str) -> None:
        self._file, self._kind = file, kind
        self._tag = f'"{hashlib.sha256(file.stored()).hexdigest()}"'

    async def answer(self, request: Request) -> Response:
        """Give it, packed where the browser takes that."""
        # kept by the browser, and asked about each time
        headers = {"etag": self._tag, "cache-control": "no-cache", "vary": "accept-encoding"}
        if request.headers.get("if-none-match") == self._tag:
            return Response(status_code=304, headers=headers)
        as_packed = self._file.packed and "gzip" in request.headers.get("accept-encoding", "")
        if as_packed:
            headers["content-encoding"] = "gzip"
        content = await run_in_threadpool(self._file.stored if as_packed else self._file.read)
        return Response(content, media_type=self._kind, headers=headers)
