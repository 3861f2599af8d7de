"""Keys files for tests."""

import json
from pathlib import Path
from typing import Any

from crossmodal.api.keys import digest_of


def entry(key: str = "cms_a", **members: Any) -> dict[str, Any]:
    """An entry of the file, for a key that is called by its last letter unless told otherwise."""
    return {"name": key[-1], "tenant": "acme", "scopes": ["read"], "sha256": digest_of(key)} | members


def write_keys(path: Path, *entries: Any, mode: int = 0o600) -> Path:
    path.write_text(json.dumps(list(entries)), encoding="utf-8")
    path.chmod(mode)
    return path
