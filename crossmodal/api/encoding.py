"""JSON out: dictionaries and numpy arrays to bytes, without rebuilding a schema per response."""

from typing import Any

import orjson
from starlette.responses import Response


def dump_json(content: Any) -> bytes:
    """Encode as UTF-8 JSON; numpy arrays become nested lists of numbers."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


class Json(Response):
    """An `application/json` response."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode the content."""
        return dump_json(content)
