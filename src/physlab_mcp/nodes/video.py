"""Moving pictures from rasterised frames: H.264 and VP9 through PyAV, GIF through Pillow."""

from __future__ import annotations

import io as _io
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, Literal

from physlab_mcp.nodes.registry import need

Format = Literal["mp4", "webm", "gif"]
MEDIA_TYPES: dict[str, str] = {"mp4": "video/mp4", "webm": "video/webm", "gif": "image/gif"}
MAX_FRAMES = 300
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
                stream = container.add_stream("libx264" if kind == "mp4" else "libvpx-vp9", rate=fps, options=options)
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


def yuv420(rgb: Any) -> Any:
    """Planar YCbCr 4:2:0, uint8 (3*height/2, width), of RGB uint8 (height, width, 3) with even sides.

    Limited-range matrix of ITU-R BT.601-7 in 16-bit fixed point. Done here because FFmpeg's own
    conversion rounds by how a buffer happens to be aligned, and equal frames must give equal files.
    """
    import numpy as np

    wide = rgb.astype(np.int32)
    red, green, blue = wide[..., 0], wide[..., 1], wide[..., 2]
    luma = (16829 * red + 33039 * green + 6416 * blue + (16 << 16) + (1 << 15)) >> 16
    height, width = rgb.shape[:2]
    quads = wide.reshape(height // 2, 2, width // 2, 2, 3).sum(axis=(1, 3))
    red, green, blue = quads[..., 0], quads[..., 1], quads[..., 2]
    rest = (128 << 18) + (1 << 17)
    cb = (-9714 * red - 19070 * green + 28784 * blue + rest) >> 18
    cr = (28784 * red - 24103 * green - 4681 * blue + rest) >> 18
    planes = [plane.astype(np.uint8).ravel() for plane in (luma, cb, cr)]
    return np.concatenate(planes).reshape(height * 3 // 2, width)


def _gif(frames: Iterable[Any], fps: int) -> bytes:
    from PIL import Image

    pictures: list[Any] = []
    for picture in frames:
        image = Image.fromarray(picture)
        palette = pictures[0] if pictures else None
        quantised = (
            image.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE) if palette is None else None
        )
        pictures.append(quantised or image.quantize(palette=palette, dither=Image.Dither.NONE))
    stream_out = _io.BytesIO()
    pictures[0].save(
        stream_out,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        # GIF counts hundredths of a second; most viewers slow down anything shorter than two.
        duration=max(20, round(100 / fps) * 10),
        loop=0,
        disposal=1,
    )
    return stream_out.getvalue()
