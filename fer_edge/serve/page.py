"""The page's files as the server gives them. No path of a request reaches the file system."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from pathlib import PurePosixPath

from fastapi import FastAPI, HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fer_edge.page.site import site_files
from fer_edge.predictor import Predictor

__all__ = ["add_page"]

_TYPES = {
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    "": "text/plain; charset=utf-8",
}
_ANYTHING = "application/octet-stream"
_INDEX = "index.html"


def add_page(app: FastAPI, predictors: Mapping[str, Predictor]) -> None:
    """Serve the page for these models; whatever other route there is goes before it."""
    models = [
        {
            "name": name,
            "backend": one.info.backend,
            "precision": one.info.precision,
            "labels": one.info.spec.labels,
        }
        for name, one in predictors.items()
    ]
    files, _ = site_files(server={"models": models})
    tags = {name: f'"{hashlib.sha256(file.stored()).hexdigest()}"' for name, file in files.items()}

    @app.get("/{path:path}", include_in_schema=False)
    async def page(request: Request, path: str) -> Response:
        name = path or _INDEX
        file = files.get(name)
        if file is None:
            raise HTTPException(404, "there is no such page")
        # kept by the browser, and asked about each time
        headers = {"etag": tags[name], "cache-control": "no-cache", "vary": "accept-encoding"}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=304, headers=headers)
        as_packed = file.packed and "gzip" in request.headers.get("accept-encoding", "")
        if as_packed:
            headers["content-encoding"] = "gzip"
        suffix = PurePosixPath(name).suffix
        kind = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, _ANYTHING)
        content = await run_in_threadpool(file.stored if as_packed else file.read)
        return Response(content, media_type=kind, headers=headers)
