"""What a service has to do to count as serving, whichever way it was started."""

import json
from typing import Any

import httpx

from tools.servers import ROOT, Server

GALLERY = ROOT / "samples" / "images"


def picture_and_caption() -> tuple[str, bytes, str]:
    """A picture of the sample gallery: its name, its content, what it shows."""
    lines = (GALLERY / "metadata.jsonl").read_text().splitlines()
    entry = next(entry for entry in map(json.loads, lines) if entry["object"] == "banana")
    return entry["file_name"], (GALLERY / entry["file_name"]).read_bytes(), entry["caption"]


def use(server: Server) -> dict[str, Any]:
    """Index a picture, find it by its caption, look at the page; what the service says of itself."""
    name, content, caption = picture_and_caption()
    with httpx.Client(base_url=server.url, timeout=60) as client:
        assert client.get("/readyz").status_code == httpx.codes.OK
        indexed = client.post("/index/images", files={"files": (name, content)}, data={"ids": json.dumps(["banana"])})
        assert (indexed.status_code, indexed.json()["indexed"]) == (200, 1), indexed.text
        found = client.post("/search/text-to-image", json={"query": caption}).raise_for_status().json()
        assert [hit["id"] for hit in found["results"]] == ["banana"]
        assert client.get("/images/banana").content == content
        page = client.get("/ui/")
        assert page.status_code == httpx.codes.OK
        assert "<title>" in page.text
        assert client.get("/metrics").status_code == httpx.codes.OK
        stats: dict[str, Any] = client.get("/stats").raise_for_status().json()
    return stats
