"""What is said of a member that is not valid: what came and what is allowed, in the words of what the client sent."""

from collections.abc import Callable, Mapping
from typing import Any

_SHOWN = 40
"""Characters of a client's own string that come back."""
_LARGE = 1e15
"""From here on a number has more digits than anybody wants to read."""
_NAMES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "a string"),
    ((list, tuple), "a list"),
    (Mapping, "an object"),
)

Error = Mapping[str, Any]
"""One of pydantic's, with its input and its context."""


def came(value: object) -> str:
    """What a client sent: a short string or a number as it is, of others the kind."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and len(value) <= _SHOWN and value.isprintable():
        return repr(value)
    if isinstance(value, int | float) and abs(value) < _LARGE:
        return f"{value}"
    if value is None:
        return "null"
    return next((name for kind, name in _NAMES if isinstance(value, kind)), "something else")


def _needed(what: str) -> Callable[[Error], str]:
    return lambda error: f"{what} is needed; {came(error['input'])} came"


def _bound(word: str, name: str) -> Callable[[Error], str]:
    return lambda error: f"{word} {error['ctx'][name]} is allowed; {came(error['input'])} came"


def _counted(one: str, many: str) -> Callable[[Error], str]:
    def say(error: Error) -> str:
        context = error["ctx"]
        least, most = context.get("min_length"), context.get("max_length")
        number = most if least is None else least
        bound = f"at {'most' if least is None else 'least'} {number} {one if number == 1 else many}"
        count = context.get("actual_length", len(error["input"]) if hasattr(error["input"], "__len__") else None)
        found = "more" if count is None else f"{count}"
        verb = "is" if number == 1 else "are"
        return f"{bound} {verb} {'allowed' if least is None else 'needed'}; {found} came"

    return say


_SAY: Mapping[str, Callable[[Error], str]] = {
    "missing": lambda _: "it is needed and did not come",
    "extra_forbidden": lambda _: "there is no member of this name here",
    "too_short": _counted("entry", "entries"),
    "too_long": _counted("entry", "entries"),
    "string_too_short": _counted("character", "characters"),
    "string_too_long": _counted("character", "characters"),
    "bool_type": _needed("true or false"),
    "bool_parsing": _needed("true or false"),
    "int_type": _needed("a whole number"),
    "int_parsing": _needed("a whole number"),
    "int_parsing_size": _needed("a smaller whole number"),
    "int_from_float": _needed("a whole number"),
    "float_type": _needed("a number"),
    "float_parsing": _needed("a number"),
    "finite_number": lambda _: "a finite number is needed",
    "string_type": _needed("a string"),
    "list_type": _needed("a list"),
    "dict_type": _needed("an object"),
    "model_type": _needed("an object"),
    "model_attributes_type": _needed("an object"),
    "literal_error": lambda error: f"{error['ctx']['expected']} is needed; {came(error['input'])} came",
    "greater_than_equal": _bound("no less than", "ge"),
    "less_than_equal": _bound("no more than", "le"),
    "greater_than": _bound("only more than", "gt"),
    "less_than": _bound("only less than", "lt"),
}


def message_of(error: Error) -> str:
    """What is said of one of pydantic's errors."""
    say = _SAY.get(error["type"])
    return str(error["msg"]).removeprefix("Value error, ") if say is None else say(error)
