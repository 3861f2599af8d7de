"""The bodies of the contract, a module for each group of routes.

Requests refuse unknown members, so that a misspelt one is not silently ignored. Answers are described here for clients
and tests; they are written without passing through these models.
"""

from collections.abc import Iterator

from pydantic import BaseModel

from crossmodal.api.schemas import (
    base,
    classify,
    compare,
    compose,
    describe,
    duplicates,
    index,
    items,
    moderate,
    openai,
    search,
)

_MODULES = (base, classify, compare, compose, describe, duplicates, index, items, moderate, openai, search)


def bodies() -> Iterator[type[BaseModel]]:
    """Every public model, once: the components of the OpenAPI document."""
    for module in _MODULES:
        for name, kind in vars(module).items():
            of_module = isinstance(kind, type) and kind.__module__ == module.__name__
            if of_module and issubclass(kind, BaseModel) and not name.startswith("_"):
                yield kind
