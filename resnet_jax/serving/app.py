"""The endpoints of the service, as an ASGI application."""

from __future__ import annotations

import pathlib
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.middleware.cors import CORSMiddleware

import resnet_jax
from resnet_jax.serving.answers import Counted, add_reasons
from resnet_jax.serving.connections.front import Front, Guard
from resnet_jax.serving.engine import Engine
from resnet_jax.serving.limits import Limits
from resnet_jax.serving.metrics import CONTENT_TYPE
from resnet_jax.serving.service import Service

_PAGE = pathlib.Path(__file__).with_name("page")
_FILES = {"/": "text/html", "/page.css": "text/css", "/page.js": "text/javascript"}
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def create_app(engine: Engine, limits: Limits) -> FastAPI:
    """Builds the application.

    Args:
        engine: The network; the first requests compile what is not compiled yet.
        limits: Bounds on requests and batches.
    """
    service = Service(engine, limits)
    app = FastAPI(
        title="resnet-jax",
        version=resnet_jax.__version__,
        lifespan=service.lifespan,
        docs_url=None,  # these pages load scripts from other sites
        redoc_url=None,
    )
    _add_predictions(app, service)
    _add_facts(app, service)
    _add_page(app)
    add_reasons(app)
    if limits.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=limits.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["content-type"],
            expose_headers=["x-class-index"],
        )
    app.add_middleware(Guard, hosts=limits.hosts, origins=limits.origins)
    app.add_middleware(Counted, metrics=service.metrics)
    app.add_middleware(Front, is_stopping=lambda: service.is_stopping)  # the outermost
    app.state.service = service
    return app


def _add_predictions(app: FastAPI, service: Service) -> None:
    image = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"file": image}}
    content = {"image/*": {"schema": image}, "multipart/form-data": {"schema": form}}
    body = {"requestBody": {"required": True, "content": content}}

    @app.post("/predict", openapi_extra=body)
    async def predict(
        request: Request, top: Annotated[int, Query(ge=1, le=1000)] = 5
    ) -> dict[str, Any]:
        """Returns the most likely classes of the image in the body."""
        return await service.predict(request, top)

    @app.post("/explain", openapi_extra=body)
    async def explain(request: Request, index: Annotated[int | None, Query()] = None) -> Response:
        """Returns a PNG of where the network looks for a class, by default the most likely."""
        return await service.explain(request, index)


def _add_facts(app: FastAPI, service: Service) -> None:
    @app.get("/healthz")
    async def healthz() -> Response:
        """Returns 200 while a further request would be answered, otherwise 503."""
        health = service.health()
        return JSONResponse(health, status_code=200 if health["status"] == "ok" else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Returns the counters in the format of Prometheus."""
        return Response(service.metrics.to_text(), media_type=CONTENT_TYPE)

    @app.get("/model")
    async def model() -> dict[str, Any]:
        """Describes the network and the limits."""
        return service.describe()


def _add_page(app: FastAPI) -> None:
    def add(path: str, media_type: str) -> None:
        content = (_PAGE / (path.strip("/") or "page.html")).read_bytes()

        @app.get(path, include_in_schema=False)
        async def page() -> Response:
            return Response(content, media_type=media_type, headers=_HEADERS)

    for path, media_type in _FILES.items():
        add(path, media_type)
