"""Draws scenes: glyph pictures on a coloured background, at any size."""

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tools.tiny_clip.objects import things
from tools.tiny_clip.world import BACKGROUNDS, Place, Scene

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
FONT_PACKAGE = "fonts-noto-color-emoji"

TRAINING_SIZE = 64
GALLERY_SIZE = 320

_STRIKE = 109  # the one size, in pixels, at which the font holds bitmaps
_MAX_TURN = 10.0  # degrees
_MAX_SQUEEZE = 0.06  # relative change of width against height
_SIZE_STEP = 2  # pixels between the sizes that the fast bank keeps
_RENEWAL = 0.02  # share of uses after which the fast bank draws a sprite anew
_SPOTS: dict[int, tuple[tuple[tuple[tuple[float, float], ...], float], ...]] = {
    2: (
        (((0.27, 0.5), (0.73, 0.5)), 0.46),
        (((0.5, 0.27), (0.5, 0.73)), 0.46),
        (((0.29, 0.29), (0.71, 0.71)), 0.46),
        (((0.71, 0.29), (0.29, 0.71)), 0.46),
    ),
    3: (
        (((0.5, 0.27), (0.27, 0.72), (0.73, 0.72)), 0.44),
        (((0.27, 0.28), (0.73, 0.28), (0.5, 0.73)), 0.44),
        (((0.19, 0.5), (0.5, 0.5), (0.81, 0.5)), 0.31),
        (((0.5, 0.19), (0.5, 0.5), (0.5, 0.81)), 0.31),
    ),
    4: (
        (((0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)), 0.44),
        (((0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)), 0.44),
        (((0.5, 0.2), (0.2, 0.5), (0.8, 0.5), (0.5, 0.8)), 0.36),
    ),
}
"""By count: arrangements as centres and the largest size, in parts of the picture's side."""

_SIDES: dict[Place, tuple[float, float]] = {
    "left": (0.24, 0.5),
    "right": (0.76, 0.5),
    "top": (0.5, 0.24),
    "bottom": (0.5, 0.76),
}


class FontMissingError(RuntimeError):
    """The emoji font is not installed."""


@dataclass(frozen=True, slots=True)
class Placed:
    """One sprite of a layout: centre and larger side in parts of the picture's side, turn in degrees."""

    glyph: str
    x: float
    y: float
    size: float
    turn: float
    squeeze: float


@cache
def glyph_picture(glyph: str) -> Image.Image:
    """A glyph's own bitmap, cropped to what it covers: RGBA, at most 136 pixels a side."""
    if not FONT.is_file():
        raise FontMissingError(f"{FONT.name} is missing: install the Debian package {FONT_PACKAGE}")
    font = ImageFont.truetype(FONT, _STRIKE)
    canvas = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
    ImageDraw.Draw(canvas).text((4, 14), glyph, font=font, embedded_color=True)
    box = canvas.getchannel("A").getbbox()
    if box is None:
        raise FontMissingError(f"{FONT.name} has no glyph U+{ord(glyph):X}: install a newer {FONT_PACKAGE}")
    return canvas.crop(box)


def layout(scene: Scene, rng: random.Random) -> list[Placed]:
    """Where each sprite of a scene goes, with small random differences."""
    # Copies of one object look alike: one glyph for each object in a scene.
    glyphs = {item: rng.choice(things()[item].glyphs) for item in (scene.item, scene.other) if item is not None}

    def placed(item: int, x: float, y: float, size: float, wobble: float) -> Placed:
        return Placed(
            glyph=glyphs[item],
            x=x + rng.uniform(-wobble, wobble),
            y=y + rng.uniform(-wobble, wobble),
            size=size,
            turn=rng.uniform(-_MAX_TURN, _MAX_TURN),
            squeeze=rng.uniform(-_MAX_SQUEEZE, _MAX_SQUEEZE),
        )

    if scene.kind == "position":
        x, y = _SIDES[scene.place]
        return [placed(scene.item, x, y, rng.uniform(0.32, 0.42), 0.03)]
    if scene.kind == "pair" and scene.other is not None:
        spots = ((0.27, 0.5), (0.73, 0.5)) if scene.place == "left of" else ((0.5, 0.27), (0.5, 0.73))
        items = (scene.item, scene.other)
        return [placed(item, *spot, rng.uniform(0.38, 0.47), 0.03) for item, spot in zip(items, spots, strict=True)]
    if scene.count == 1:
        return [placed(scene.item, 0.5, 0.5, rng.uniform(0.5, 0.9), 0.04)]
    spots_of_group, largest = rng.choice(_SPOTS[scene.count])
    size = largest * rng.uniform(0.82, 1.0)
    return [placed(scene.item, *spot, size, 0.02) for spot in spots_of_group]


def background_colour(scene: Scene, rng: random.Random) -> tuple[int, int, int]:
    """The background's 8-bit sRGB colour, a little off the named one."""
    red, green, blue = (round(min(255, max(0, v + rng.gauss(0, 7)))) for v in BACKGROUNDS[scene.background])
    return red, green, blue


def sprite(placed: Placed, side: int) -> Image.Image:
    """A glyph scaled and turned for a picture of `side` pixels: RGBA."""
    source = glyph_picture(placed.glyph)
    scale = placed.size * side / max(source.size)
    # Turned before scaling: turning at 20 pixels would blur what a large picture, reduced, keeps. Premultiplied
    # while it is interpolated, so that no dark rim bleeds in from the transparent part.
    turned = source.convert("RGBa").rotate(placed.turn, Image.Resampling.BILINEAR, expand=True)
    width = max(2, round(turned.width * scale * (1 + placed.squeeze)))
    height = max(2, round(turned.height * scale * (1 - placed.squeeze)))
    return turned.resize((width, height), Image.Resampling.BICUBIC).convert("RGBA")


def render(scene: Scene, rng: random.Random, *, side: int = GALLERY_SIZE) -> Image.Image:
    """A scene as an RGB picture of `side` x `side` pixels; the same `rng` state gives the same picture."""
    picture = Image.new("RGB", (side, side), background_colour(scene, rng))
    for placed in layout(scene, rng):
        _paste(picture, sprite(placed, side), placed)
    return picture


def _paste(picture: Image.Image, drawn: Image.Image, placed: Placed) -> None:
    side = picture.width
    picture.paste(drawn, (round(placed.x * side - drawn.width / 2), round(placed.y * side - drawn.height / 2)), drawn)


class FastRenderer:
    """Draws training pictures of 64 pixels several times faster than `render`.

    Sprites are kept per glyph and size and drawn anew, with another turn and squeeze, once in a while: scaling a
    glyph for each use would take longer than everything else in a scene.
    """

    def __init__(self) -> None:
        self._bank: dict[tuple[str, int], Image.Image] = {}

    def render(self, scene: Scene, rng: random.Random) -> Image.Image:
        """A scene as an RGB picture of 64 x 64 pixels; depends on `rng` and on what was drawn before."""
        picture = Image.new("RGB", (TRAINING_SIZE, TRAINING_SIZE), background_colour(scene, rng))
        for placed in layout(scene, rng):
            key = placed.glyph, round(placed.size * TRAINING_SIZE / _SIZE_STEP)
            drawn = self._bank.get(key)
            if drawn is None or rng.random() < _RENEWAL:
                drawn = self._bank[key] = sprite(placed, TRAINING_SIZE)
            _paste(picture, drawn, placed)
        return picture
