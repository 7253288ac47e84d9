"""The application: the page, the HTTP API and the WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.responses import Response

import fer_edge
from fer_edge.errors import FerEdgeError, InputError
from fer_edge.live.sources import FrameSource
from fer_edge.predictor import Predictor, PredictorInfo
from fer_edge.serve.cameras import Camera
from fer_edge.serve.faces import SIDES, FaceService, TooManyPixelsError
from fer_edge.serve.guard import PROTOCOL, Guard
from fer_edge.serve.metrics import Metrics
from fer_edge.serve.page import add_page
from fer_edge.serve.records import IMAGE_TYPES, SCHEMA, Health, PredictAnswer, refusals
from fer_edge.serve.settings import Limits, ServerSettings
from fer_edge.serve.stream import Stream, watch_camera

_BUSY = 4429
_POLICY = 1008  # RFC 6455

_SIDE = Query(
    description="longest side of the copy that is searched", json_schema_extra={"enum": [*SIDES]}
)


class _Services:
    """What the routes share."""

    def __init__(
        self,
        predictors: Mapping[str, Predictor],
        cameras: Mapping[str, Callable[[], FrameSource]],
        limits: Limits,
    ) -> None:
        self.limits, self.metrics = limits, Metrics()
        self.default = next(iter(predictors))
        self.pool = ThreadPoolExecutor(limits.decoding_threads, "fer-edge-decode")
        self.models = {name: FaceService(one, self.pool) for name, one in predictors.items()}
        first = self.models[self.default]
        self.cameras = [Camera(name, open_, first) for name, open_ in cameras.items()]
        self.waiting = asyncio.Semaphore(limits.waiting_pictures)
        self.clients = 0

    @asynccontextmanager
    async def place(self, socket: WebSocket) -> AsyncIterator[bool]:
        """Accept and count a client; False if the server is full."""
        if self.clients >= self.limits.clients:
            await socket.close(_BUSY, "too many clients")
            yield False
            return
        self.clients += 1
        self.metrics.clients.inc()
        try:
            offered = socket.headers.get("sec-websocket-protocol", "").split(",")
            await socket.accept(PROTOCOL if PROTOCOL in map(str.strip, offered) else None)
            yield True
        finally:
            self.clients -= 1
            self.metrics.clients.dec()

    async def close(self) -> None:
        for service in self.models.values():
            await service.close()
        self.pool.shutdown(cancel_futures=True)


def create_app(
    predictors: Mapping[str, Predictor],
    settings: ServerSettings,
    cameras: Mapping[str, Callable[[], FrameSource]] | None = None,
) -> FastAPI:
    """Make the application (ASGI) that serves some models by name; the first is the default.

    ``cameras`` are sources of the server's own by the name that clients see, and what opens each.
    The predictors stay the caller's, and have to be open as long as the application runs.
    """
    services = _Services(predictors, cameras or {}, settings.limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await services.close()

    app = FastAPI(
        title="fer_edge",
        version=fer_edge.__version__,
        description="Finds faces in pictures and tells the apparent expression of each.",
        docs_url=None,  # FastAPI's own pages load from another host
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Guard, settings=settings)
    _add_operation(app, services)
    _add_predict(app, services)
    _add_stream(app, services)
    _add_cameras(app, services)
    add_page(
        app,
        [_described(name, one.info) for name, one in predictors.items()],
        [
            {"id": str(number), "name": camera.name}
            for number, camera in enumerate(services.cameras)
        ],
    )
    return app


def _add_operation(app: FastAPI, services: _Services) -> None:
    info = services.models[services.default].predictor.info
    health = Health(
        status="ok", model=services.default, backend=info.backend, precision=info.precision
    )

    @app.get("/healthz", responses=refusals(403), tags=["operation"])
    async def healthz() -> Health:
        """Tell that the server works, and what it runs."""
        return health

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(services.metrics.text(), media_type=Metrics.content_type)

    @app.exception_handler(RequestValidationError)
    async def out_of_range(_: Request, problem: RequestValidationError) -> JSONResponse:
        messages = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in problem.errors())
        return JSONResponse({"detail": "; ".join(messages)}, 422)

    @app.exception_handler(FerEdgeError)
    async def engine_failed(_: Request, problem: FerEdgeError) -> JSONResponse:
        return JSONResponse({"detail": str(problem)}, 500)


def _add_predict(app: FastAPI, services: _Services) -> None:
    picture: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
    body = {"required": True, "content": dict.fromkeys(IMAGE_TYPES, picture)}

    @app.post(
        "/v1/predict",
        response_model=PredictAnswer,
        responses=refusals(400, 401, 403, 404, 408, 413, 415, 422, 429),
        tags=["faces"],
        openapi_extra={"requestBody": body},
    )
    async def predict(
        request: Request,
        model: Annotated[str, Query(description="one of the server's models")] = services.default,
        side: Annotated[int, _SIDE] = SIDES[1],
    ) -> JSONResponse:
        """Find and classify the faces of the picture in the body."""
        service = services.models.get(model)
        if service is None:
            names = ", ".join(services.models)
            raise HTTPException(404, f"there is no model {model!r:.100}; there are {names}")
        if side not in SIDES:
            raise HTTPException(422, f"side should be one of {SIDES}, not {side}")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in IMAGE_TYPES:
            raise HTTPException(415, f"expected {', '.join(IMAGE_TYPES)}, not {kind!r:.100}")
        if services.waiting.locked():
            raise HTTPException(429, "too many pictures wait already; try again in a second")
        async with services.waiting:
            data = await _body(request, services.limits)
            try:
                findings = await service.analyze(data, side, services.limits.photo_pixels)
            except InputError as problem:
                services.metrics.refused.labels("predict").inc()
                too_large = isinstance(problem, TooManyPixelsError)
                raise HTTPException(413 if too_large else 400, str(problem)) from problem
        services.metrics.picture(model, "predict", len(findings.boxes), findings.timings_ms)
        timings = (f"{name};dur={ms:.2f}" for name, ms in findings.timings_ms.items())
        across, down = findings.searched
        return JSONResponse(
            {"schema": SCHEMA, "results": [{"image": None, "faces": findings.faces()}]},
            headers={
                "server-timing": ", ".join(timings),
                "fer-edge-searched": f"{across}x{down}",
            },
        )


def _add_stream(app: FastAPI, services: _Services) -> None:
    @app.websocket("/v1/stream")
    async def connect(
        socket: WebSocket, model: str = services.default, side: int = SIDES[0]
    ) -> None:
        service = services.models.get(model)
        if service is None or side not in SIDES:
            await socket.close(_POLICY, "no such model or side")
            return
        async with services.place(socket) as free:
            if free:
                stream = Stream(
                    socket,
                    service,
                    model=model,
                    side=side,
                    limits=services.limits,
                    metrics=services.metrics,
                )
                await stream.run()


def _add_cameras(app: FastAPI, services: _Services) -> None:
    @app.websocket("/v1/cameras/{number}")
    async def watch(socket: WebSocket, number: int) -> None:
        if not 0 <= number < len(services.cameras):
            await socket.close(_POLICY, "no such camera")
            return
        async with services.place(socket) as free:
            if free:
                with suppress(WebSocketDisconnect, asyncio.TimeoutError, OSError):
                    await watch_camera(socket, services.cameras[number], services.limits)


def _described(name: str, info: PredictorInfo) -> dict[str, Any]:
    """A model as ``page.json`` lists it."""
    return {
        "name": name,
        "backend": info.backend,
        "precision": info.precision,
        "labels": info.spec.labels,
    }


async def _body(request: Request, limits: Limits) -> bytes:
    """The body, in chunks, so that one that is too large is refused before it is held."""
    too_large = HTTPException(413, f"up to {limits.body_bytes:,} bytes are taken")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > limits.body_bytes:
        raise too_large

    async def read() -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > limits.body_bytes:
                raise too_large
        return bytes(body)

    try:
        data = await asyncio.wait_for(read(), limits.idle)
    except asyncio.TimeoutError as problem:
        raise HTTPException(408, f"the body did not come within {limits.idle:.0f} s") from problem
    if not data:
        raise HTTPException(400, "the body is empty; send the bytes of a picture file")
    return data
