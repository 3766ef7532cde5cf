"""Moving pictures from rasterised frames: H.264, VP9 and VP8 through PyAV, GIF through Pillow."""

from __future__ import annotations

import io as _io
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, Literal

from physlab_mcp.errors import UnavailableError
from physlab_mcp.nodes.registry import need

Format = Literal["mp4", "webm", "gif"]
MEDIA_TYPES: dict[str, str] = {"mp4": "video/mp4", "webm": "video/webm", "gif": "image/gif"}
CODECS: dict[str, tuple[str, ...]] = {"mp4": ("libx264",), "webm": ("libvpx-vp9", "libvpx")}
DPI = 130


def draw_frames(
    figure: Any, artists: Sequence[Any], update: Callable[[int], None], count: int, on_frame: Callable[[int], None]
) -> Iterator[Any]:
    """RGB frames, uint8 arrays (height, width, 3) with even sides, of one figure.

    Everything but `artists` is drawn once; `update(index)` changes the artists in place before each frame.
    """
    import numpy as np

    figure.set_dpi(DPI)
    for artist in artists:
        artist.set_animated(True)
    canvas = figure.canvas
    canvas.draw()
    figure.set_layout_engine("none")
    background = canvas.copy_from_bbox(figure.bbox)
    for index in range(count):
        canvas.restore_region(background)
        update(index)
        for artist in artists:
            (artist.axes or figure).draw_artist(artist)
        picture = np.asarray(canvas.buffer_rgba())
        height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
        yield np.ascontiguousarray(picture[:height, :width, :3])
        on_frame(index)


def check_encoder(kind: Format) -> None:
    """Fail before any frame is drawn where the encoder is missing.

    Raises:
        UnavailableError: no PyAV here; the remedy names the extra. GIF needs only Pillow.

    """
    need("PIL", "science") if kind == "gif" else need("av", "video")


def encode(frames: Iterable[Any], kind: Format, fps: int) -> bytes:
    """The file's bytes; the same frames give the same bytes on the same library versions.

    Raises:
        UnavailableError: the encoder's package is not installed.

    """
    check_encoder(kind)
    return _gif(frames, fps) if kind == "gif" else _film(frames, kind, fps)


def _film(frames: Iterable[Any], kind: Format, fps: int) -> bytes:
    av = need("av", "video")
    stream_out = _io.BytesIO()
    with av.open(stream_out, mode="w", format=kind, options={"fflags": "+bitexact"}) as container:
        # One thread: the thread count is written into the stream, and equal input must give equal bytes.
        options = {"threads": "1", "flags": "+bitexact"}
        if kind == "mp4":
            options |= {"crf": "19", "preset": "veryfast"}
        else:
            options |= {"crf": "28", "b": "0", "cpu-used": "6", "deadline": "realtime"}
        stream = None
        for index, picture in enumerate(frames):
            if stream is None:
                stream = container.add_stream(codec_of(av, kind), rate=fps, options=options)
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.colorspace = 6  # SMPTE 170M, the BT.601 matrix of `yuv420`
                stream.codec_context.color_range = 1
                stream.time_base = Fraction(1, fps)
            frame = av.VideoFrame.from_ndarray(yuv420(picture), format="yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())
    return stream_out.getvalue()


def codec_of(av: Any, kind: str) -> str:
    """The first encoder of `CODECS` that this PyAV was built with.

    Raises:
        UnavailableError: it has none of them.

    """
    for name in CODECS[kind]:
        try:
            av.Codec(name, "w")
        except ValueError:  # FFmpeg knows no such encoder
            continue
        return name
    raise UnavailableError(
        f"PyAV {av.__version__} has no encoder for {kind}.",
        got=kind,
        remedy="Use another format, or install the wheel of av from PyPI.",
    )


def yuv420(rgb: Any) -> Any:
    """Planar YCbCr 4:2:0, uint8 (3*height/2, width), of RGB uint8 (height, width, 3) with even sides.

    Limited-range matrix of ITU-R BT.601-7 in 16-bit fixed point. Done here because FFmpeg's own
    conversion rounds by how a buffer happens to be aligned, and equal frames must give equal files.
    """
    import numpy as np

    red, green, blue = (np.ascontiguousarray(rgb[..., band]).astype(np.int32) for band in range(3))
    luma = (16829 * red + 33039 * green + 6416 * blue + ((16 << 16) + (1 << 15))) >> 16
    height, width = rgb.shape[:2]
    red, green, blue = (_quads(plane) for plane in (red, green, blue))
    rest = (128 << 18) + (1 << 17)
    cb = (-9714 * red - 19070 * green + 28784 * blue + rest) >> 18
    cr = (28784 * red - 24103 * green - 4681 * blue + rest) >> 18
    planes = [plane.astype(np.uint8).ravel() for plane in (luma, cb, cr)]
    return np.concatenate(planes).reshape(height * 3 // 2, width)


def _quads(plane: Any) -> Any:
    """Sums of two by two pixels: strided additions, which take a fraction of a reduction's time."""
    return plane[::2, ::2] + plane[::2, 1::2] + plane[1::2, ::2] + plane[1::2, 1::2]


def _gif(frames: Iterable[Any], fps: int) -> bytes:
    from PIL import Image

    pictures: list[Any] = []
    palette: Any = None
    corner, twin = 0, 0
    for index, picture in enumerate(frames):
        image = Image.fromarray(picture)
        if palette is None:
            first = image.quantize(255, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
            colours = first.getpalette() or []
            corner, twin = first.tobytes()[0], len(colours) // 3
            palette = Image.new("P", (1, 1))
            palette.putpalette([*colours, *colours[3 * corner : 3 * corner + 3]])
        drawn = image.quantize(palette=palette, dither=Image.Dither.NONE)
        # Pillow drops a frame equal to the one before; two entries of one colour tell them apart unseen.
        if drawn.getpixel((0, 0)) in {corner, twin}:
            drawn.putpixel((0, 0), twin if index % 2 else corner)
        pictures.append(drawn)
    data = b""
    for optimize in (True, False):  # the smaller file, unless Pillow's palettes of single frames merged some
        stream_out = _io.BytesIO()
        pictures[0].save(
            stream_out,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            # GIF counts hundredths of a second; most viewers slow down anything shorter than two.
            duration=max(20, round(100 / fps) * 10),
            loop=0,
            optimize=optimize,
            disposal=1,
        )
        data = stream_out.getvalue()
        with Image.open(_io.BytesIO(data)) as made:
            if getattr(made, "n_frames", 1) == len(pictures):
                break
    return data
