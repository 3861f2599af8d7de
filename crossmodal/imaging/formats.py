"""Which format bytes are of, told from the bytes alone: a file's name and its declared type are the sender's claims."""

from PIL import features

from crossmodal.errors import ImageUndecodable, UnsupportedMediaType

MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
}
"""Every format that is read, by Pillow's name."""

_READ = "JPEG, PNG, WebP, GIF, BMP, TIFF and AVIF are read"

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # BigTIFF
    (b"MM\0+", "TIFF"),
)

_FOREIGN = (
    (0, b"%PDF-", "a PDF document"),
    (0, b"%!PS", "PostScript"),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"\0\0\1\0", "an icon (ICO)"),
    (0, b"\0\0\2\0\0\0", "a Targa picture (TGA)"),  # before the cursor: a cursor's file holds at least one, here
    (0, b"\0\0\2\0", "a cursor (CUR)"),
    (0, b"\0\0\3\0\0\0", "a Targa picture (TGA)"),
    (0, b"\0\0\x0a\0\0\0", "a Targa picture (TGA)"),
    (0, b"\0\0\x0b\0\0\0", "a Targa picture (TGA)"),
    (0, b"\0\1\1\0\0", "a Targa picture (TGA)"),
    (0, b"\0\1\x09\0\0", "a Targa picture (TGA)"),
    (0, b"icns", "an icon (ICNS)"),
    (0, b"SIMPLE  =", "a FITS picture"),
    (0, b"\0\0\0\x0cJXL \r\n", "a JPEG XL picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\0\0\0\x0cjP  \r\n", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (0, b"v/1\x01", "an OpenEXR picture"),
    (0, b"#?RADIANCE", "a Radiance HDR picture"),
    (0, b"DDS ", "a DirectDraw surface"),
    (0, b"gimp xcf", "a GIMP document"),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows metafile"),
    (40, b" EMF", "a Windows metafile"),
    (0, b"qoif", "a QOI picture"),
    (0, b"\x0a\x05\x01", "a PCX picture"),
    (0, b"\x59\xa6\x6a\x95", "a Sun raster"),
    (0, b"\x01\xda\0\1", "an SGI picture"),
    (0, b"\x01\xda\1\1", "an SGI picture"),
    (0, b"AT&TFORM", "a DjVu document"),
    (0, b"/* XPM */", "an XPM picture"),
    (128, b"DICM", "a DICOM picture"),
    *((0, b"P%d%c" % (kind, blank), "a portable anymap (PNM)") for kind in range(1, 8) for blank in b" \t\r\n"),
    (0, b"PK\x03\x04", "a zip archive or an office document"),
    (0, b"PK\x05\x06", "a zip archive or an office document"),
    (0, b"\x1f\x8b", "gzip data"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (0, b"\0\0\1\xba", "an MPEG video"),
    (0, b"\0\0\1\xb3", "an MPEG video"),
    (8, b"AVI ", "an AVI video"),
    (8, b"WAVE", "a sound file"),
    (0, b"ID3", "a sound file"),
    (0, b"OggS", "an Ogg file"),
    (0, b"fLaC", "a sound file"),
    (0, b"\x7fELF", "a program"),
)

_MARKUP = (
    (b"<?xml", "an XML document or an SVG drawing"),
    (b"<svg", "an SVG drawing"),
    (b"<!doctype", "a markup document"),
    (b"<html", "an HTML page"),
)

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}


def sniff(content: bytes) -> str:
    """Tell the format of ``content`` (Pillow's name, a key of MEDIA_TYPES) from its first bytes.

    Raises UnsupportedMediaType for what is known to be something else, and says what it is; ImageUndecodable for
    empty bytes and for bytes that are no known format at all.
    """
    if not content:
        raise ImageUndecodable("The picture is empty: it has 0 bytes.")
    for signature, name in _SIGNATURES:
        if content.startswith(signature):
            return name
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WEBP"
    foreign = _foreign(content)
    if content[4:8] == b"ftyp":
        brands = _brands(content)
        if brands & _AVIF_BRANDS and features.check("avif"):
            return "AVIF"
        foreign = _container(brands)
    if foreign:
        raise UnsupportedMediaType(f"This looks like {foreign}; {_READ}.")
    raise ImageUndecodable(f"The bytes are no picture: no known signature begins them; {_READ}.")


def media_type(content: bytes) -> str:
    """Tell the media type of an encoded picture, such as ``image/jpeg``; raises what ``sniff`` raises."""
    return MEDIA_TYPES[sniff(content)]


def _foreign(content: bytes) -> str | None:
    for offset, signature, name in _FOREIGN:
        if content.startswith(signature, offset):
            return name
    start = content[:256].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for tag, name in _MARKUP:
        if start.startswith(tag):
            return name
    return None


def _brands(content: bytes) -> set[bytes]:
    """Read the major and compatible brands of an ISO base media file (ISO/IEC 14496-12, 4.3)."""
    length = min(int.from_bytes(content[:4], "big"), 256)
    compatible = {content[at : at + 4] for at in range(16, length, 4)}
    return {content[8:12]} | compatible


def _container(brands: set[bytes]) -> str:
    if brands & _AVIF_BRANDS:
        return "an AVIF picture, which this installation of Pillow cannot read"
    return "a HEIC picture" if brands & _HEIF_BRANDS else "an MP4 or QuickTime video"
