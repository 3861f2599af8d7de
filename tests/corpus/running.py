"""Asking a server a case: the bad request, then whether the server is as healthy and holds as much as before."""

import httpx

from tests.corpus.cases import Case
from tests.corpus.checking import faults
from tests.corpus.wire import data_url, exchange
from tests.pictures import encoded, photograph
from tools.servers import Server

COUNTS = ("images_indexed", "texts_indexed")


class Examiner:
    """Asks cases of one server, one at a time."""

    def __init__(self, server: Server) -> None:
        self._port = server.port
        self._client = httpx.Client(base_url=server.url, timeout=60)

    def prepare(self) -> None:
        """Index a little, so that searches have something to find."""
        pictures = [data_url(encoded(photograph(64, 48, seed=seed), "PNG")) for seed in range(3)]
        items = [{"image": image, "id": f"corpus-{place}"} for place, image in enumerate(pictures)]
        self._client.post("/index/images", json={"items": items}).raise_for_status()
        self._client.post("/index/texts", json={"items": ["a dog", "a cat"]}).raise_for_status()

    def examine(self, case: Case) -> list[str]:
        """What was wrong, a line each."""
        before = self._counts()
        answer = exchange(self._port, case.wire(), half_close=case.half_close, seconds=case.patience)
        found = faults(case, answer)
        search = self._client.post("/search/text-to-image", json={"query": "a cat"})
        if search.status_code != httpx.codes.OK or not search.json()["results"]:
            found.append(f"a good search afterwards: {search.status_code} {search.text[:200]}")
        if (after := self._counts()) != before:
            found.append(f"the counts went from {before} to {after}")
        return found

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _counts(self) -> list[int]:
        stats = self._client.get("/stats").raise_for_status().json()
        return [stats[name] for name in COUNTS]
