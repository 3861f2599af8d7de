"""The FastAPI app: routes, problems, the page; and the edge around whatever serves it."""

from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import RedirectResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

import crossmodal
from crossmodal.api.cors import cors_options
from crossmodal.api.direct import add_routes
from crossmodal.api.edge import EdgeMiddleware
from crossmodal.api.foreign import Outside
from crossmodal.api.gate import Gatekeeper
from crossmodal.api.openapi import install_openapi
from crossmodal.api.problems import install_problem_handlers
from crossmodal.api.routes import (
    classify,
    compare,
    compose,
    describe,
    duplicates,
    index,
    items,
    moderate,
    openai,
    search,
)
from crossmodal.api.traffic import Traffic
from crossmodal.settings import ROOT


def create_app(page: Path = ROOT / "web") -> FastAPI:
    """Build the app; ``app.state.container`` is None until the process that serves it has opened one.

    ``page`` is the folder served at `/ui/`.
    """
    app = FastAPI(
        title="Cross-modal search",
        version=crossmodal.__version__,
        openapi_url="/docs.json",
        docs_url=None,  # Swagger's page loads its script from another host
        redoc_url=None,
        # Its own spans would carry paths and queries of clients, its records of faults their messages; ours do not.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.container = None
    install_problem_handlers(app)
    modules = (index, search, compose, compare, classify, moderate, describe, duplicates, items, openai)
    app.state.api_routes = add_routes(app, [module.router for module in modules])
    install_openapi(app)

    @app.get("/", include_in_schema=False)
    async def home() -> RedirectResponse:
        return RedirectResponse("/ui/")

    @app.get("/ui", include_in_schema=False)
    async def page_without_slash() -> RedirectResponse:
        return RedirectResponse("/ui/")

    app.mount("/ui", StaticFiles(directory=page, html=True), name="page")
    return app


def edge_around(
    server: ASGIApp, app: FastAPI, *, traffic: Traffic, gate: Gatekeeper, origins: Sequence[str], traced: bool
) -> ASGIApp:
    """The edge around ``server``, BentoML's whole app, with ``app`` inside.

    What is refused costs no more than it must, and BentoML's own answers pass it. Pages of ``origins`` may call;
    ``traced``: BentoML's spans are wanted.
    """
    paths = [route.path for route in app.routes if hasattr(route, "path")]
    edge = EdgeMiddleware(Outside(server, paths, traced=traced), traffic=traffic, gate=gate)
    return CORSMiddleware(edge, **cors_options(origins)) if origins else edge
