"""The few real photographs in the gallery, from the sample data of scikit-image and scikit-learn.

They show that photographs pass through the service; the tiny model, which knows its drawn world alone, cannot be
expected to understand them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

FOLDER = "photographs"
LONGEST_SIDE = 640  # pixels


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph and where it comes from. `original` is the file's name in the package `package`."""

    original: str
    package: str
    name: str
    caption: str
    shows: str
    author: str
    licence: str


PHOTOGRAPHS = (
    Photograph(
        original="chelsea.png",
        package="scikit-image 0.26.0",
        name="cat.jpg",
        caption="a photo of a cat",
        shows="cat",
        author="Stefan van der Walt",
        licence="CC0 1.0",
    ),
    Photograph(
        original="coffee.png",
        package="scikit-image 0.26.0",
        name="cup-of-coffee.jpg",
        caption="a photo of a cup of coffee",
        shows="cup of coffee",
        author="Rachel Michetti, courtesy of Pikolo Espresso Bar",
        licence="CC0 1.0",
    ),
    Photograph(
        original="rocket.jpg",
        package="scikit-image 0.26.0",
        name="rocket.jpg",
        caption="a photo of a rocket",
        shows="rocket",
        author="SpaceX",
        licence="public domain",
    ),
    Photograph(
        original="china.jpg",
        package="scikit-learn 1.9.1",
        name="temple.jpg",
        caption="a photo of a temple",
        shows="temple",
        author="danielbuechele on Flickr",
        licence="CC BY 2.0",
    ),
    Photograph(
        original="flower.jpg",
        package="scikit-learn 1.9.1",
        name="flower.jpg",
        caption="a photo of a flower",
        shows="flower",
        author="vultilion on Flickr",
        licence="CC BY 2.0",
    ),
)


def listed_photographs() -> list[dict[str, Any]]:
    """Metadata of the photographs under the keys that the drawn pictures use, with author and licence."""
    return [
        {
            "file_name": f"{FOLDER}/{photograph.name}",
            "caption": photograph.caption,
            "kind": "photograph",
            "object": photograph.shows,
            "count": 1,
            "background": "photograph",
            "author": photograph.author,
            "licence": photograph.licence,
        }
        for photograph in PHOTOGRAPHS
    ]


def add_photographs(source: Path, images: Path) -> None:
    """Copies the photographs from `source` into the gallery, at most 640 pixels a side.

    Raises FileNotFoundError where an original is missing.
    """
    target = images / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    for photograph in PHOTOGRAPHS:
        with Image.open(source / photograph.original) as opened:
            picture = opened.convert("RGB")
        picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        picture.save(target / photograph.name, "JPEG", quality=88, optimize=True)
