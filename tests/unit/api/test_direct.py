"""Routes that are called without FastAPI's solver answer as FastAPI's would, and what needs it still goes through it."""

from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Request
from starlette.responses import PlainTextResponse, Response

from crossmodal.api.direct import DirectRoute, add_routes
from crossmodal.errors import NotFound


async def _agent(request: Request) -> str:
    if "x-lost" in request.headers:
        raise NotFound("lost")
    return request.headers["user-agent"]


async def _named(x_name: Annotated[str, Header()]) -> str:
    return x_name


Agent = Annotated[str, Depends(_agent)]
router = APIRouter(route_class=DirectRoute, prefix="/of")


@router.get("/nothing")
async def nothing() -> Response:
    return PlainTextResponse("nothing")


@router.post("/request")
async def of_request(request: Request, agent: Agent) -> Response:
    return PlainTextResponse(f"{(await request.body()).decode()} from {agent}")


@router.get("/path/{number}")
async def of_path(number: int, agent: Agent) -> Response:
    return PlainTextResponse(f"{number + 1} for {agent}")


@router.get("/header")
async def of_header(name: Annotated[str, Depends(_named)]) -> Response:
    return PlainTextResponse(name)


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = FastAPI()
    add_routes(app, [router])
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    return httpx.AsyncClient(transport=transport, base_url="http://here", headers={"user-agent": "me"})


async def test_what_an_endpoint_takes_reaches_it(client: httpx.AsyncClient) -> None:
    assert (await client.get("/of/nothing")).text == "nothing"
    assert (await client.post("/of/request", content=b"this")).text == "this from me"


async def test_what_fastapi_has_to_work_out_is_left_to_it(client: httpx.AsyncClient) -> None:
    assert (await client.get("/of/path/4")).text == "5 for me"
    assert (await client.get("/of/path/four")).status_code == 422
    assert (await client.get("/of/header", headers={"x-name": "Ada"})).text == "Ada"
    assert (await client.get("/of/header")).status_code == 422


async def test_what_a_dependency_raises_reaches_the_app(client: httpx.AsyncClient) -> None:
    with pytest.raises(NotFound):
        await client.post("/of/request", headers={"x-lost": "1"})


def test_only_what_takes_the_request_alone_is_called_directly() -> None:
    direct = {
        route.path: route.get_route_handler().__module__ == "crossmodal.api.direct"
        for route in router.routes
        if isinstance(route, DirectRoute)
    }
    assert direct == {"/of/nothing": True, "/of/request": True, "/of/path/{number}": False, "/of/header": False}
