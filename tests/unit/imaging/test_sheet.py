"""Contact sheets: where the cells lie, what the captions do, where the bounds are."""

import numpy as np
import pytest
from PIL import Image

from crossmodal.errors import ValidationFailed
from crossmodal.imaging import contact_sheet
from tests.pictures import BLUE, GREEN, RED, WHITE, YELLOW, pixel, solid

COLOURS = [RED, GREEN, BLUE, YELLOW, (9, 9, 9)]


def squares(count: int, side: int = 40) -> list[Image.Image]:
    return [solid(COLOURS[index % 5], (side, side)) for index in range(count)]


def ink(sheet: Image.Image, box: tuple[int, int, int, int]) -> int:
    """How many pixels in ``box`` are not white."""
    return int((np.asarray(sheet.crop(box)) < 128).all(axis=-1).sum())


def test_grid_without_captions() -> None:
    sheet = contact_sheet(squares(5), columns=2, cell=40)
    assert sheet.mode == "RGB"
    assert sheet.size == (8 + 2 * 48, 8 + 3 * 48)
    centres = [(28, 28), (76, 28), (28, 76), (76, 76), (28, 124), (76, 124)]
    assert [pixel(sheet, *centre) for centre in centres] == [*COLOURS, WHITE]
    assert pixel(sheet, 7, 28) == WHITE
    assert pixel(sheet, 8, 8) == RED
    assert pixel(sheet, 47, 47) == RED
    assert pixel(sheet, 48, 48) == WHITE


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (5, 3, 2), (9, 3, 3), (10, 4, 3)])
def test_columns_by_default(count: int, columns: int, rows: int) -> None:
    assert contact_sheet(squares(count), cell=32).size == (8 + columns * 40, 8 + rows * 40)


def test_more_columns_than_pictures() -> None:
    assert contact_sheet(squares(2), columns=50, cell=32).size == (8 + 2 * 40, 8 + 40)


def test_pictures_are_fitted_and_centred_never_enlarged() -> None:
    sheet = contact_sheet([solid(RED, (400, 100)), solid(GREEN, (10, 10))], columns=2, cell=40)
    assert pixel(sheet, 8, 28) == RED
    assert pixel(sheet, 47, 28) == RED
    assert pixel(sheet, 28, 20) == WHITE
    assert pixel(sheet, 76, 28) == GREEN
    assert pixel(sheet, 76 - 7, 28) == WHITE


def test_captions_lie_below_their_pictures() -> None:
    sheet = contact_sheet(squares(2), ["a dog", ""], columns=2, cell=40)
    assert sheet.size == (8 + 2 * 48, 8 + 68)
    assert ink(sheet, (8, 48, 48, 68)) > 20
    assert ink(sheet, (56, 48, 96, 68)) == 0


def test_long_captions_are_cut_to_their_cell() -> None:
    long = contact_sheet(squares(2), ["a very long caption indeed" * 40, ""], columns=2, cell=40)
    assert ink(long, (8, 48, 48, 68)) > 20
    assert ink(long, (49, 48, 104, 76)) == 0


def test_caption_of_several_lines_is_one_line() -> None:
    one = contact_sheet(squares(1), ["red dog"], cell=160)
    several = contact_sheet(squares(1), ["red\n\n  dog"], cell=160)
    assert one.tobytes() == several.tobytes()


def test_alpha_shows_on_white() -> None:
    sheet = contact_sheet([Image.new("RGBA", (40, 40), (255, 0, 0, 0))], cell=40)
    assert pixel(sheet, 28, 28) == WHITE


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (0, {}, "1 to 400 pictures, got 0"),
        (401, {}, "1 to 400 pictures, got 401"),
        (2, {"captions": ["one"]}, "got 1 for 2"),
        (1, {"cell": 31}, "32 to 512 pixels wide, got 31"),
        (1, {"cell": 513}, "got 513"),
        (1, {"columns": 0}, "at least 1 column, got 0"),
        (400, {"cell": 512}, "at most 50000000"),
    ],
)
def test_bounds(count: int, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationFailed, match=message):
        contact_sheet([solid(RED, (1, 1))] * count, **options)  # type: ignore[arg-type]
