"""Routes without what FastAPI does anew for each request: ours read their own bodies and make their own responses.

FastAPI works out for each request what an endpoint takes, and looks for its route twice, router by router: a quarter of the
CPU time of a text that was asked before. Here routes lie in one list, and an endpoint that takes nothing but the request,
or what is made from the request alone, is called with just that. Any other endpoint is called by FastAPI.
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import fields
from inspect import iscoroutinefunction
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.responses import Response

_SAYS_NOTHING = {"name", "call", "path", "use_cache", "scope", "concurrency", "dependencies", "request_param_name"}
"""What a ``Dependant`` holds beside the parameters of other kinds than the request and dependencies."""


class DirectRoute(APIRoute):
    """A route of FastAPI in all but how its endpoint is called, where that takes only what is made from the request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request; the hook that FastAPI has for it."""
        takes = self.dependant
        if not (_only_request(takes) and all(_is_direct(each) for each in takes.dependencies)):
            return super().get_route_handler()
        endpoint, name = self.endpoint, takes.request_param_name
        made: list[tuple[str, Callable[..., Any], str]] = [
            (each.name or "", each.call, each.request_param_name)
            for each in takes.dependencies
            if each.call is not None and each.request_param_name is not None
        ]

        async def handle(request: Request) -> Response:
            values = {} if name is None else {name: request}
            for dependency, call, its_name in made:
                values[dependency] = await call(**{its_name: request})
            response: Response = await endpoint(**values)
            return response

        return handle


def _only_request(takes: Dependant) -> bool:
    """Whether it takes nothing but the request and dependencies."""
    return not any(getattr(takes, field.name) for field in fields(takes) if field.name not in _SAYS_NOTHING)


def _is_direct(dependency: Dependant) -> bool:
    """Whether it is a coroutine function of the request alone."""
    alone = _only_request(dependency) and not dependency.dependencies and dependency.request_param_name
    return bool(alone) and iscoroutinefunction(dependency.call)


def add_routes(app: FastAPI, routers: Sequence[APIRouter]) -> list[APIRoute]:
    """Put the routes of ``routers`` into the app's own list, and return them."""
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    app.router.routes.extend(routes)
    return routes
