"""Pictures with their captions, read from a file."""

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from crossmodal.errors import ClientError, ConfigurationError, ValidationFailed
from indexer.evaluation.files import FaultList, member, path_of, records, text_of


@dataclass(frozen=True, slots=True)
class Pairs:
    """p pictures and c captions; ``owners`` [c] are the places of the captions' pictures, and each picture has one."""

    pictures: list[Path]
    captions: list[str]
    owners: list[int]

    def without(self, pictures: Container[int]) -> "Pairs":
        """What is left when the pictures at these places and their captions are taken out."""
        kept = [place for place in range(len(self.pictures)) if place not in pictures]
        now = {place: number for number, place in enumerate(kept)}
        left = [(text, now[owner]) for text, owner in zip(self.captions, self.owners, strict=True) if owner in now]
        return Pairs([self.pictures[place] for place in kept], [text for text, _ in left], [owner for _, owner in left])

    @property
    def shared_captions(self) -> int:
        """How many captions another picture has word for word: no model can tell those pictures apart by them."""
        pictures = Counter(text for text, _ in set(zip(self.captions, self.owners, strict=True)))
        return sum(pictures[text] > 1 for text in self.captions)


def read_pairs(file: Path, *, images: Path | None, max_chars: int, first: int | None = None) -> Pairs:
    """Pairs of a `.jsonl` or `.csv` file; pictures by their path from ``images`` on, or else from the file's folder.

    A line has `image` or `file_name`, and `caption` or (`.jsonl` only) `captions`, a list; other members are passed over.
    Lines of one picture come together; only the ``first`` captions of each are taken. Raises ``FileFaults`` naming every
    line that is not so, ``ConfigurationError`` if the file cannot be read or holds no pair.
    """
    faults = FaultList(file)
    folder = file.parent if images is None else images
    by_picture: dict[Path, list[str]] = {}
    for number, record in records(file, faults):
        try:
            picture = path_of(member(record, "image", "file_name"), "the image", folder)
            given = member(record, "caption", "captions")
            texts = given if isinstance(given, list) else [given]
            if not texts:
                raise ValidationFailed("the picture has no caption")
            by_picture.setdefault(picture, []).extend(text_of(each, "the caption", max_chars) for each in texts)
        except ClientError as fault:
            faults.add(number, fault.detail)
    faults.check()
    if not by_picture:
        raise ConfigurationError(f"{file.name} holds no pair of a picture and a caption")
    listed = [(text, owner) for owner, texts in enumerate(by_picture.values()) for text in texts[:first]]
    return Pairs(list(by_picture), [text for text, _ in listed], [owner for _, owner in listed])
