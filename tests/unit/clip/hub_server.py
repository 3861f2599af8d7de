"""A small server that answers as the Hugging Face hub does when a file of a repository is fetched."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GATED = "gated"
"""Repositories of this organisation ask for permission first."""

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serve_hub(repositories: Mapping[str, Mapping[str, bytes]]) -> Iterator[str]:
    """Serve the files of ``repositories`` (``org/repo`` to name to content); yields the endpoint."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            org, repository, _, _, name = self.path.lstrip("/").split("/", 4)
            files = repositories.get(f"{org}/{repository}")
            content = None if files is None else files.get(name)
            gated = org == GATED
            missing = "GatedRepo" if gated else "RepoNotFound" if files is None else "EntryNotFound"
            self.send_response(200 if content is not None else 403 if gated else 404)
            self.send_header("X-Repo-Commit", COMMIT)
            if content is None:
                self.send_header("X-Error-Code", missing)
            else:
                self.send_header("ETag", f'"{sha1(content, usedforsecurity=False).hexdigest()}"')
            body = content or b""
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
