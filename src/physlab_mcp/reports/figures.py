"""Figures on the page: the stored picture with a link to its full resolution, caption and list of formats."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from reportlab.lib.utils import ImageReader
from reportlab.platypus import Flowable, Paragraph, Spacer

from physlab_mcp.analysis import quantities
from physlab_mcp.errors import PhyslabError
from physlab_mcp.reports import layout
from physlab_mcp.reports.text import Typesetter, link, plain
from physlab_mcp.schemas.artifact import ArtifactRef, Figure

if TYPE_CHECKING:
    from physlab_mcp.artifacts.blobs import Blobs

_DPI = 300
_MAX_PIXELS = 60_000_000
MAX_HEIGHT = 250.0


def uri(sha256: str) -> str:
    """Where the artifact is read."""
    return f"physlab://artifacts/{sha256}"


class Picture(Flowable):
    """A raster picture at a given width, all of it a link."""

    def __init__(self, image: Any, width: float, height: float, target: str = "") -> None:
        super().__init__()
        self.image = image
        self.width, self.height = width, height
        self.target = target

    def wrap(self, aW: float, aH: float) -> tuple[float, float]:  # noqa: ARG002  (reportlab calls it so)
        """Its size and the space before the caption."""
        return self.width, self.height + 5

    def draw(self) -> None:
        """Draw it and its link."""
        self.canv.drawImage(self.image, 0, 5, self.width, self.height)
        if self.target:
            self.canv.linkURL(self.target, (0, 5, self.width, self.height + 5), relative=1, thickness=0)


class Placeholder(Flowable):
    """A box that says why there is no picture."""

    def __init__(self, text: Paragraph, width: float, height: float = 62.0) -> None:
        super().__init__()
        self.text = text
        self.width, self.height = width, height

    def wrap(self, aW: float, aH: float) -> tuple[float, float]:  # noqa: ARG002  (reportlab calls it so)
        """Its size; it grows with its text."""
        _, needed = self.text.wrap(self.width - 24, 400)
        self.height = max(self.height, needed + 16)
        return self.width, self.height + 5

    def draw(self) -> None:
        """Draw the frame and the text in its middle."""
        self.canv.setStrokeColor(layout.FAINT)
        self.canv.setDash(3, 2)
        self.canv.rect(0, 5, self.width, self.height, stroke=1, fill=0)
        self.canv.setDash()
        _, needed = self.text.wrap(self.width - 24, 400)
        self.text.drawOn(self.canv, 12, 5 + (self.height - needed) / 2)


def shown_ref(figure: Figure) -> ArtifactRef | None:
    """The picture that stands for the figure on paper."""
    return figure.png or figure.thumbnail


def full_ref(figure: Figure) -> ArtifactRef | None:
    """What the picture links to: the animation where there is one, else the full picture."""
    return figure.mp4 or figure.png or figure.svg or figure.thumbnail or figure.csv


def decode(data: bytes) -> Any:
    """The picture as RGB on white.

    Raises:
        ValueError: it is no picture, or one too large to put on a page.

    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as opened:
            if opened.width * opened.height > _MAX_PIXELS:
                raise ValueError(f"it has {opened.width} x {opened.height} pixels, too many for a page")
            image = opened.convert("RGBA") if opened.mode in ("RGBA", "LA", "P", "PA") else opened.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("it cannot be read as a picture") from error
    if image.mode == "RGBA":
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=image.getchannel("A"))
        return paper
    return image


def load(figure: Figure, blobs: Blobs) -> tuple[Any, str]:
    """The decoded picture, or None and the reason why there is none."""
    ref = shown_ref(figure)
    if ref is None:
        return None, "this figure has no raster picture"
    try:
        return decode(blobs.read(ref.sha256)), ""
    except ValueError as error:
        return None, str(error)
    except PhyslabError as error:
        return None, error.message.rstrip(".")


def fitted(image: Any, width: float, height: float, target: str = "") -> Picture:
    """A picture in a box of that size, its pixels no more than print needs."""
    scale = min(width / image.width, height / image.height)
    wide, high = image.width * scale, image.height * scale
    pixels = (max(round(wide / 72 * _DPI), 1), max(round(high / 72 * _DPI), 1))
    if image.width > pixels[0] * 1.25:
        from PIL import Image

        image = image.resize(pixels, Image.Resampling.LANCZOS)
    return Picture(ImageReader(image), wide, high, target)


def sensible_width(image: Any) -> float:
    """A width on the page by shape: strips take the whole column, squares a good half."""
    if image is None:
        return layout.WIDTH * 0.6
    ratio = image.width / image.height
    share = 1.0 if ratio > 2.2 else 0.78 if ratio > 1.25 else 0.58
    # A small picture is not blown up beyond 96 dots per inch.
    return min(layout.WIDTH * share, image.width / 96 * 72 * 1.6)


def formats(figure: Figure) -> str:
    """Markup that lists and links every stored format."""
    named = (("PNG", figure.png), ("SVG", figure.svg), ("MP4", figure.mp4), ("CSV", figure.csv))
    parts = [
        link(
            plain(
                f"{name if name != 'MP4' or ref.name.endswith('.mp4') else 'animation'} ({quantities.size_text(ref.size)})"
            ),
            uri(ref.sha256),
        )
        for name, ref in named
        if ref is not None
    ]
    return "Full resolution: " + plain(" · ").join(parts) if parts else ""


def block(
    setter: Typesetter, figure: Figure, number: int, caption: str, *, image: Any, reason: str, width: float
) -> list[Flowable]:
    """Picture or placeholder, caption and formats, `width` wide."""
    full = full_ref(figure)
    target = uri(full.sha256) if full else ""
    if image is None:
        text = setter.paragraph(plain(f"No picture: {quantities.shorten(reason, 300)}."), layout.NOTE)
        top: Flowable = Placeholder(text, width)
    else:
        top = fitted(image, width, MAX_HEIGHT, target)
    words = setter.rich(caption, layout.CAPTION, before=f"<b>Figure {number}.</b> ")
    below = formats(figure)
    return [top, words, *([Spacer(1, 2), setter.paragraph(below, layout.FORMATS)] if below else [])]
