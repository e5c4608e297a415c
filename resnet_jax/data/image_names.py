"""Which files are images: those that are read, those of other formats, and all the rest."""

from __future__ import annotations

from pathlib import PurePosixPath

from resnet_jax.errors import counted

EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .pjpeg .png .webp .bmp .gif .tif .tiff".split()  # noqa: SIM905
)
"""Of the files that are read as images, in small letters."""

_PHOTO = "convert it to JPEG, such as with: magick mogrify -format jpg {name}"
_DRAWING = "draw it as PNG, such as with: magick -density 300 {name} {stem}.png"
_UNREAD = {
    **dict.fromkeys(("heic", "heif", "avif", "jxl", "jp2", "jpx", "psd", "tga", "ico"), _PHOTO),
    **dict.fromkeys(("dng", "cr2", "cr3", "nef", "arw", "orf", "rw2", "raf"), _PHOTO),
    **dict.fromkeys(("svg", "svgz", "eps", "ai"), _DRAWING),
}
_BRANDS = {b"heic": "heic", b"heix": "heic", b"hevc": "heic", b"mif1": "heif", b"msf1": "heif"}
_BRANDS |= {b"avif": "avif", b"avis": "avif"}

_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


def is_litter(path: str) -> bool:
    """Whether a path leads to a hidden file, or to what a file manager left behind."""
    return any(part.startswith(".") or part.lower() in _LITTER for part in path.split("/") if part)


def is_image(name: str) -> bool:
    """Whether a file is read as an image, by its name."""
    return PurePosixPath(name).suffix.lower() in EXTENSIONS


def unread_format(name: str) -> str | None:
    """Says what to do about an image of a format that is not read.

    Args:
        name: Of the file.

    Returns:
        A reason with a remedy; None for other files.
    """
    path = PurePosixPath(name)
    kind = path.suffix.lower().removeprefix(".")
    remedy = _UNREAD.get(kind)
    return remedy and f"{kind.upper()} is not read; {remedy.format(name=path.name, stem=path.stem)}"


def unread_content(image: bytes) -> str | None:
    """Does the same by the first bytes of a file, whatever it is called."""
    kind = _BRANDS.get(image[8:12]) if image[4:8] == b"ftyp" else None
    if kind is None and b"<svg" in image[:1024]:
        kind = "svg"
    return kind and unread_format(f"FILE.{kind}")


def no_images(count: int) -> str:
    """Counts files whose names are not those of images, for a message."""
    several = "files that are not images by their names"
    return counted(count, "file that is not an image by its name", plural=several)
