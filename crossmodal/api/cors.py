"""What pages of other sites may ask, where an operator lists their origins."""

from collections.abc import Sequence
from typing import Any


def cors_options(origins: Sequence[str]) -> dict[str, Any]:
    """Options of Starlette's ``CORSMiddleware``, which stands around the edge: pages must be able to read refusals too."""
    return {
        "allow_origins": list(origins),
        "allow_methods": ["GET", "HEAD", "POST", "DELETE"],
        "allow_headers": ["Authorization", "Content-Type", "X-Request-ID"],
        "expose_headers": ["X-Request-ID", "Server-Timing", "Retry-After", "ETag"],
    }
