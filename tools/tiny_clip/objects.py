"""The nameable objects of the rendered world, read from `objects.tsv` beside this file.

Each line of the table holds the glyphs of an object (several where the emoji set draws it more than once), the
name people use for it, and other names. People, hands, faces, clock faces, coloured dots and glyphs that look
nearly the same as another are left out: two names for one look would make retrieval ambiguous.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tools.tiny_clip.grammar import plural

TABLE = Path(__file__).with_name("objects.tsv")


@dataclass(frozen=True, slots=True)
class Thing:
    """One nameable object.

    `names` holds (singular, plural) pairs: the usual name first, then synonyms. `glyphs` holds single
    characters of the emoji font.
    """

    index: int
    glyphs: tuple[str, ...]
    names: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The usual singular name, unique in the table."""
        return self.names[0][0]


@cache
def things() -> tuple[Thing, ...]:
    """All objects in the table's order; an object's place in it is its `index`."""
    rows = [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return tuple(
        Thing(
            index=index,
            glyphs=tuple(glyphs.split(" ")),
            names=tuple((name, plural(name)) for name in [usual, *filter(None, others.split(", "))]),
        )
        for index, (glyphs, usual, others) in enumerate(rows)
    )


@cache
def by_name() -> dict[str, Thing]:
    """Objects by their usual name."""
    return {thing.name: thing for thing in things()}
