"""How a route gets at the use cases."""

from typing import Annotated

from fastapi import Depends, Request

from crossmodal.errors import ModelUnavailable
from crossmodal.wiring import Container


async def _container(request: Request) -> Container:  # not plain: that would be run in a thread, for each request
    container: Container | None = request.app.state.container
    if container is None:
        raise ModelUnavailable("the model is being loaded; try again in a moment")
    return container


Rooms = Annotated[Container, Depends(_container)]
"""The container. A route that asks for it answers 503 until the model is loaded; what needs the store, until that is open."""
