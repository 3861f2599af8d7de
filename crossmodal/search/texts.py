"""What is accepted as a text."""

from crossmodal.errors import TextTooLong, ValidationFailed

MAX_ID_CHARS = 256
_PREVIEW = 40


def check_text(text: str, *, max_chars: int) -> str:
    """Return ``text`` if it says something, is encodable and is short enough.

    Raises ``ValidationFailed`` for an empty or unencodable one, ``TextTooLong`` for more than ``max_chars`` characters.
    """
    if len(text) > max_chars:
        raise TextTooLong(f"the text has {len(text)} characters; at most {max_chars} are allowed")
    if not is_encodable(text):
        raise ValidationFailed("the text holds half of a surrogate pair, which is no character")
    if not says_something(text):
        raise ValidationFailed("the text is empty; say what to look for")
    return text


def says_something(text: str) -> bool:
    """Whether ``text`` holds a character that can be seen."""
    return any(character.isprintable() and not character.isspace() for character in text)


def check_id(item_id: str) -> str:
    """Return ``item_id`` if it can stand in a URL as a path and mean one item. Raises ``ValidationFailed``."""
    if not 1 <= len(item_id) <= MAX_ID_CHARS:
        raise ValidationFailed(f"the id has {len(item_id)} characters; 1 to {MAX_ID_CHARS} are allowed")
    if not is_encodable(item_id) or not item_id.isprintable():
        raise ValidationFailed("the id holds characters that cannot be printed")
    parts = item_id.split("/")
    # What stands behind a semicolon is a parameter to some readers of paths (RFC 3986, section 3.3), as to the gate.
    if "" in parts or any(part.partition(";")[0] in {".", ".."} for part in parts) or parts[-1] == "thumbnail":
        detail = f"the id {item_id[:_PREVIEW]!r} cannot stand in a URL: no empty, '.' or '..' parts, and not ending in '/thumbnail'"
        raise ValidationFailed(detail)
    return item_id


def is_encodable(text: str) -> bool:
    """Whether ``text`` has a UTF-8 form; JSON can spell half of a surrogate pair, which has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
