"""JSON Schemas of what pydantic's annotations do not say: checks that the use cases make, written down for clients.

They describe and check nothing: what is wrong is refused further in, in better words than a schema's. Limits that JSON
Schema cannot say (16 KiB of metadata, 8 levels and 64 conditions of a filter) are in the descriptions.
"""

from typing import Any

from crossmodal.imaging.formats import MEDIA_TYPES
from crossmodal.store import filters, metadata

Schema = dict[str, Any]

_COMPONENT = "x-component"


def component(name: str) -> Schema:
    """A reference to a component of the document: pydantic takes none that are not its own, so ``resolved`` makes it."""
    return {_COMPONENT: name}


def resolved(node: Any) -> Any:
    """The document with its references to components."""
    if isinstance(node, list):
        return [resolved(each) for each in node]
    if not isinstance(node, dict):
        return node
    if _COMPONENT in node:
        return {"$ref": f"#/components/schemas/{node[_COMPONENT]}"}
    return {name: resolved(each) for name, each in node.items()}


PICTURE_TYPES = ", ".join(MEDIA_TYPES.values())

_SEEN = r"\p{L}\p{M}\p{N}\p{P}\p{S}"
"""Characters that can be seen, as Unicode's categories."""

TEXT: Schema = {
    "minLength": 1,
    "pattern": f"[{_SEEN}]",
    "description": "at least one character that can be seen; at most 10,000 characters unless configured otherwise",
}

PICTURE: Schema = {
    "format": "picture",
    "description": "a data URL or base64 of an encoded picture, or an http(s) URL of one where that is switched on: "
    + PICTURE_TYPES,
}

PICTURE_FILE: Schema = {
    "type": "string",
    "format": "binary",
    "contentMediaType": "image/png",
    "description": "an encoded picture, told by its content alone: " + PICTURE_TYPES,
}

NEW_ID: Schema = {
    "pattern": rf"^[{_SEEN} ]+$",
    "not": {"pattern": r"(?:^|/)\.{0,2}(?:/|$)|(?:^|/)thumbnail$"},
    "description": "printable; no empty, '.' or '..' part between slashes; the last part is not 'thumbnail'",
}

_NUMBER: Schema = {"type": "number", "description": "finite; whole numbers have at most 64 bits"}
_STRING: Schema = {"type": "string", "maxLength": metadata.MAX_STRING_CHARS}
_SCALAR: Schema = {"anyOf": [_STRING, _NUMBER, {"type": "boolean"}]}
_KEY: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": metadata.MAX_KEY_CHARS,
    "pattern": rf"^[{_SEEN} ]+$",
    "not": {"pattern": r'["\\]'},
}

METADATA: Schema = {
    "type": "object",
    "description": "scalars, lists of scalars or null; at most 16 KiB of JSON",
    "maxProperties": metadata.MAX_KEYS,
    "propertyNames": {"allOf": [_KEY, {"not": {"enum": sorted(metadata.RESERVED_KEYS)}}]},
    "additionalProperties": {
        "anyOf": [
            *_SCALAR["anyOf"],
            {"type": "null"},
            {"type": "array", "items": _SCALAR, "maxItems": metadata.MAX_LIST_VALUES},
        ]
    },
}

_INNER = {"allOf": [component("Filter"), {"minProperties": 1}]}

FILTER: Schema = {
    "type": "object",
    "title": "Filter",
    "description": "Conditions on metadata, all of which hold; at most 8 levels and 64 conditions",
    "propertyNames": _KEY,
    "properties": {
        "not": _INNER,
        "and": {"type": "array", "items": _INNER, "minItems": 1},
        "or": {"type": "array", "items": _INNER, "minItems": 1},
    },
    "additionalProperties": {
        "anyOf": [
            *_SCALAR["anyOf"],
            {
                "type": "object",
                "properties": dict.fromkeys(filters.BOUNDS, _NUMBER),
                "additionalProperties": False,
                "minProperties": 1,
            },
            {
                "type": "object",
                "properties": {
                    "any": {"type": "array", "items": _SCALAR, "minItems": 1, "maxItems": filters.MAX_ANY_VALUES}
                },
                "additionalProperties": False,
                "required": ["any"],
            },
        ]
    },
}


def exactly_one(*groups: tuple[str, ...]) -> Schema:
    """Of several groups of members, all of one are given, and of the others none but null."""
    members = {name for group in groups for name in group}
    absent = {"type": "null"}
    return {
        "oneOf": [
            {
                "required": list(group),
                "properties": {name: {"not": absent} if name in group else absent for name in sorted(members)},
            }
            for group in groups
        ]
    }
