"""From the files of A. Karpathy's splits of COCO, Flickr8k and Flickr30k to pairs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crossmodal.errors import ConfigurationError


def pairs_of_split(file: Path, split: str) -> Iterator[str]:
    """Lines of a `.jsonl` file of pairs: the pictures of ``split`` with their raw captions, in the file's order.

    ``file`` is an object whose `images` have `filename`, `split`, `sentences` with `raw` and, in COCO's, `filepath`, the
    folder the picture is in. Captions that are blank are left out. Raises ``ConfigurationError`` if it is not so, or has no
    picture of the split.
    """
    images = _images(file)
    try:
        chosen = [each for each in images if each["split"] == split]
        if not chosen:
            known = ", ".join(sorted({str(each["split"]) for each in images}))
            raise ConfigurationError(f"{file.name} has no picture of the split {split!r}; it has {known}")
        for each in chosen:
            name = "/".join(filter(None, [each.get("filepath", ""), each["filename"]]))
            captions = [" ".join(sentence["raw"].split()) for sentence in each["sentences"]]
            yield json.dumps({"image": name, "captions": [text for text in captions if text]}, ensure_ascii=False)
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{file.name} is not of the format: each of its 'images' has 'filename', 'split' and 'sentences' with 'raw'"
        ) from error


def _images(file: Path) -> list[Any]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{file.name} is not valid JSON: {error}") from error
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not images:
        raise ConfigurationError(f"{file.name} is not of the format: an object with a list 'images' is needed")
    return images
