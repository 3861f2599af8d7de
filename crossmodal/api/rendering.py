"""Items and hits as the contract writes them."""

from dataclasses import asdict
from datetime import UTC
from typing import Any
from urllib.parse import quote

from crossmodal.records import Hit, Item, Modality


def render_item(item: Item) -> dict[str, Any]:
    """An item with its text, or with the paths of its picture and thumbnail."""
    rendered: dict[str, Any] = {
        "id": item.id,
        "modality": item.modality.value,
        "metadata": item.metadata,
        "created_at": item.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }
    if item.modality is Modality.TEXT:
        return rendered | {"text": item.text}
    uri = f"/images/{quote(item.id)}"
    return rendered | {"uri": uri, "thumbnail_url": f"{uri}/thumbnail"}


def render_hit(hit: Hit) -> dict[str, Any]:
    """An item with its scores."""
    rendered = render_item(hit.item)
    rendered |= {"score": hit.score, "relevance": hit.relevance, "weak_match": hit.weak_match}
    if hit.contributions:
        rendered["contributions"] = [asdict(each) for each in hit.contributions]
    return rendered
