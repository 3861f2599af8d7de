"""A process that answers as a Qdrant server does, as far as the store uses one: `python -m tests.faults.qdrant PORT`.

The same stand-in as in the contract tests, behind a real socket, so that it can be cut off, hang and come back.
"""

import os
import subprocess
import sys
import time

import httpx
import uvicorn
from starlette.types import Receive, Scope, Send

from tests.contract.fake_server import FakeServer
from tools.servers import ROOT, free_port


class StandIn:
    """The stand-in as an ASGI app."""

    def __init__(self) -> None:
        self._server = FakeServer()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        query = scope["query_string"].decode()
        url = f"http://qdrant.test{scope['path']}" + (f"?{query}" if query else "")
        answer = await self._server.answer(httpx.Request(scope["method"], url, content=body))
        content = answer.read()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": content})


class QdrantProcess:
    """The stand-in in a process of its own; ``url`` is where it listens."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen([sys.executable, "-m", __name__, str(self.port)], cwd=ROOT, env=os.environ)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{self.url}/collections/x/exists", timeout=2)
            except httpx.TransportError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError("the stand-in of a Qdrant server did not start")

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


if __name__ == "__main__":
    uvicorn.run(StandIn(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
