"""A contact sheet: results side by side in one picture, each with its caption."""

from collections.abc import Sequence
from math import ceil, sqrt

from PIL import Image, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont
from PIL.ImageFont import ImageFont as BitmapFont

from crossmodal.errors import ValidationFailed
from crossmodal.imaging.colour import to_rgb

MAX_CELLS = 400
MIN_CELL = 32
MAX_CELL = 512
_MAX_PIXELS = 50_000_000

_GAP = 8
_CAPTION_HEIGHT = 20
_FONT_SIZE = 12
_MAX_CAPTION = 200
_GROUND = (255, 255, 255)
_INK = (32, 32, 32)


def contact_sheet(
    images: Sequence[Image.Image],
    captions: Sequence[str] | None = None,
    columns: int | None = None,
    cell: int = 160,
) -> Image.Image:
    """Lay ``images`` out row by row, each fitted into ``cell`` x ``cell`` pixels, never enlarged, its caption below.

    ``columns`` defaults to the square root of the count, rounded up. A caption too long for its cell is cut and ends in
    an ellipsis. Raises ValidationFailed for no or over 400 pictures, a number of captions other than of pictures, a
    cell outside 32 to 512, fewer than one column, or a sheet of over 50 megapixels.
    """
    _check(images, captions, columns, cell)
    across = min(columns or ceil(sqrt(len(images))), len(images))
    rows = ceil(len(images) / across)
    step_down = cell + _GAP + (_CAPTION_HEIGHT if captions is not None else 0)
    size = (_GAP + across * (cell + _GAP), _GAP + rows * step_down)
    if size[0] * size[1] > _MAX_PIXELS:
        raise ValidationFailed(f"The sheet would have {size[0]} x {size[1]} pixels; at most {_MAX_PIXELS} are allowed.")
    sheet = Image.new("RGB", size, _GROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_FONT_SIZE)
    for index, image in enumerate(images):
        left, top = _GAP + index % across * (cell + _GAP), _GAP + index // across * step_down
        small = to_rgb(image)
        small.thumbnail((cell, cell), Image.Resampling.BICUBIC)
        sheet.paste(small, (left + (cell - small.width) // 2, top + (cell - small.height) // 2))
        if captions is not None:
            draw.text((left, top + cell + 2), _cut(captions[index], cell, font), _INK, font)
    return sheet


def _check(images: Sequence[Image.Image], captions: Sequence[str] | None, columns: int | None, cell: int) -> None:
    if not 1 <= len(images) <= MAX_CELLS:
        raise ValidationFailed(f"A contact sheet holds 1 to {MAX_CELLS} pictures, got {len(images)}.")
    if captions is not None and len(captions) != len(images):
        raise ValidationFailed(f"There must be a caption for each picture: got {len(captions)} for {len(images)}.")
    if not MIN_CELL <= cell <= MAX_CELL:
        raise ValidationFailed(f"A cell is {MIN_CELL} to {MAX_CELL} pixels wide, got {cell}.")
    if columns is not None and columns < 1:
        raise ValidationFailed(f"A contact sheet has at least 1 column, got {columns}.")


def _cut(caption: str, width: int, font: FreeTypeFont | BitmapFont) -> str:
    """Shorten a caption to one line of at most ``width`` pixels."""
    line = " ".join(caption[:_MAX_CAPTION].split())
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line.rstrip() + "…"
