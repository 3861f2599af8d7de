"""A filter in the words of a Qdrant engine: the embedded engine and the server's client name the same things twice."""

from collections.abc import Collection
from typing import Protocol, TypeVar

from crossmodal.store import payload
from crossmodal.store.filters import And, AnyOf, Equals, Filter, Not, Or, Range

C = TypeVar("C")


class Dialect(Protocol[C]):
    """How one engine writes conditions of its type ``C``."""

    def keyword(self, path: str, values: list[str]) -> C:
        """The indexed keyword field at ``path`` holds one of ``values``."""

    def number(self, path: str, bounds: Range) -> C:
        """A number at ``path`` lies within ``bounds``."""

    def join(self, *, must: list[C] | None = None, should: list[C] | None = None, must_not: list[C] | None = None) -> C:
        """All of ``must``, one of ``should`` and none of ``must_not``; everything if nothing is given."""


def translate(where: Filter, dialect: Dialect[C]) -> C:  # noqa: PLR0911 -- one for each kind of filter
    """``where`` as one condition, true for the items that ``filters.matches`` is true for."""
    match where:
        case Equals(field, value):
            return dialect.keyword(payload.TERMS, [payload.term(field, value)])
        case AnyOf(field, values):
            return dialect.keyword(payload.TERMS, sorted({payload.term(field, value) for value in values}))
        case Range(field):
            # The term keeps the engine from reading the payloads of items that have no number there.
            has_number = dialect.keyword(payload.TERMS, [payload.number_term(field)])
            return dialect.join(must=[has_number, dialect.number(payload.number_path(field), where)])
        case Not(inner):
            return dialect.join(must_not=[translate(inner, dialect)])
        case And(parts):
            return dialect.join(must=[translate(part, dialect) for part in parts])
        case Or(()):
            return dialect.join(must_not=[dialect.join()])  # an empty `should` holds for everything
        case Or(parts):
            return dialect.join(should=[translate(part, dialect) for part in parts])


def restrict(
    dialect: Dialect[C],
    tenant: str,
    where: Filter | None = None,
    *,
    content_hash: str | None = None,
    without_contents: Collection[str] = (),
) -> C:
    """Items of ``tenant`` and no other, of those the ones of ``where`` and of the one content hash wanted, or of none of those to be left out.

    The tenant stands beside ``where`` and not in it, so whatever is denied or offered there is so within the tenant.
    """
    must = [dialect.keyword(payload.TENANT, [tenant])]
    if where is not None:
        must.append(translate(where, dialect))
    if content_hash is not None:
        must.append(dialect.keyword(payload.CONTENT_HASH, [content_hash]))
    must_not = [dialect.keyword(payload.CONTENT_HASH, sorted(without_contents))] if without_contents else []
    return dialect.join(must=must, must_not=must_not)
