"""The node `plot.animation`, and the files it makes."""

import builtins
import io

import av
import numpy as np
import pytest
from node_runs import Bench
from PIL import Image
from pydantic import ValidationError

from physlab_mcp.errors import RequestError, UnavailableError
from physlab_mcp.nodes import figures, video


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def _store(bench, array):
    from physlab_mcp.nodes.io import NodeIO

    return {"$artifact": {"sha256": NodeIO(job_id="j", blobs=bench.blobs).save_array("a", array).sha256}}


def _frames(data):
    """Pictures (frames, height, width, 3) of a film in memory, whatever its format."""
    if data[:3] == b"GIF":
        with Image.open(io.BytesIO(data)) as film:
            pictures = []
            for index in range(film.n_frames):
                film.seek(index)
                pictures.append(np.asarray(film.convert("RGB")))
            return np.stack(pictures)
    with av.open(io.BytesIO(data)) as film:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)])


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_film_decodes_to_the_frames_asked_for(bench, kind):
    result = bench.run(
        "plot.animation", frame_expr="sin(x - t)", x_range=[0, 6], t_range=[0, 6, 9], format=kind, fps=10
    )
    data = bench.blobs.read(result.artifacts[0].sha256)
    with av.open(io.BytesIO(data)) as film:
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in film.decode(video=0)]
        assert film.streams.video[0].average_rate == 10
    assert len(frames) == 9
    assert np.abs(frames[0] - frames[4])[100:].max() > 100
    assert result.artifacts[0].media_type == f"video/{kind}"
    assert result.values["duration_s"] == pytest.approx(0.9)


def test_gif_has_the_frames_asked_for_and_repeats(bench):
    result = bench.run("plot.animation", frame_expr="x*t", frame_count=5, format="gif")
    with Image.open(io.BytesIO(bench.blobs.read(result.artifacts[0].sha256))) as picture:
        assert picture.n_frames == 5
        assert picture.info["loop"] == 0


def test_film_of_a_stored_field_shows_it_beside_its_trace(bench):
    frames = np.stack([np.roll(np.eye(8), shift, axis=1) for shift in range(6)])
    result = bench.run(
        "plot.animation",
        frames=_store(bench, frames),
        trace=list(range(6)),
        times=list(range(6)),
        scale="sqrt",
        extent=2,
    )
    bench.check_declared("plot.animation", result)
    assert result.values["frames"] == 6
    assert result.figures[0].mp4 == result.artifacts[0]


def test_film_is_the_same_bytes_every_time(tmp_path):
    made = [
        Bench(tmp_path / name).run("plot.animation", frame_expr="sin(x - t)", frame_count=5).all_artifacts()
        for name in "ab"
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("rgb", "ycbcr"),
    [
        ((255, 255, 255), (235, 128, 128)),
        ((0, 0, 0), (16, 128, 128)),
        ((255, 0, 0), (81, 90, 240)),
        ((0, 0, 255), (41, 240, 110)),
    ],
)
def test_colours_are_those_of_bt_601(rgb, ycbcr):
    planes = video.yuv420(np.full((4, 6, 3), rgb, dtype=np.uint8))
    assert planes.shape == (6, 6)
    found = (planes.ravel()[0], planes.ravel()[24], planes.ravel()[30])
    assert tuple(int(value) for value in found) == ycbcr


def test_film_shows_the_colours_that_were_drawn():
    picture = np.zeros((32, 48, 3), dtype=np.uint8)
    picture[:, :24] = (0, 114, 178)
    picture[16:, 24:] = (213, 94, 0)
    with av.open(io.BytesIO(video.encode([picture] * 3, "mp4", 10))) as film:
        decoded = next(film.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    for row, column in ((8, 10), (8, 36), (24, 36)):
        assert np.abs(decoded[row, column] - picture[row, column]).max() <= 6


def test_without_animation_only_the_first_frame_is_drawn(bench):
    result = bench.run("plot.animation", frame_expr="x*t", emit_animation=False)
    assert result.artifacts == ()
    assert result.figures[0].mp4 is None
    assert result.figures[0].png is not None
    assert result.values["duration_s"] is None


def test_mp4_without_av_names_the_extra_to_install(bench, monkeypatch):
    real = builtins.__import__

    def without_av(name, *args, **options):
        if name == "av" or name.startswith("av."):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr("importlib.import_module", lambda name, *_: without_av(name))
    with pytest.raises(UnavailableError, match="video"):
        bench.run("plot.animation", frame_expr="x*t", format="mp4")


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"frame_expr": "x", "frames": [[[0]]]},
        {"frame_expr": "x", "frame_count": 5001},
        {"frame_expr": "x", "t_range": [0, 1, 5001]},
        {"frame_expr": "x", "y_range": [0, 1], "samples": 2000, "frame_count": 17},
        {"frame_expr": "x", "x_range": [1, 0]},
        {"frame_expr": "x", "format": "avi"},
    ],
)
def test_films_beyond_the_limits_are_refused(bench, params):
    with pytest.raises(ValidationError):
        bench.run("plot.animation", **params)


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4), (4, 1, 4), (2, 2, 2, 2)])
def test_stored_fields_beyond_the_limits_are_refused(bench, shape):
    with pytest.raises(RequestError, match="shape"):
        bench.run("plot.animation", frames=_store(bench, np.zeros(shape)))


def test_frames_have_even_sides_and_only_the_artists_change():
    with figures.style():
        figure = figures.new_figure(2.003, 1.507)
        axes = figure.add_subplot()
        (line,) = axes.plot([0, 1], [0, 0])
        axes.set_ylim(-1, 1)
        frames = list(video.draw_frames(figure, [line], lambda i: line.set_ydata([i, i]), 2, lambda _i: None))
    assert frames[0].shape == frames[1].shape
    assert all(side % 2 == 0 for side in frames[0].shape[:2])
    changed = np.any(frames[0] != frames[1], axis=2)
    assert 0 < changed.mean() < 0.2
    ink = [int(np.sum(np.ptp(frame.astype(int), axis=2) > 60)) for frame in frames]
    assert ink[1] < 1.5 * ink[0]


@pytest.mark.parametrize("kind", ["mp4", "webm", "gif"])
@pytest.mark.parametrize("fps", [1, 30, 60])
def test_films_of_frames_that_hardly_differ_keep_them_all(bench, kind, fps):
    result = bench.run(
        "plot.animation", frame_expr="x + 0*t", t_range=[0, 1e-9, 7], format=kind, fps=fps, emit_plots=False
    )
    assert len(_frames(bench.blobs.read(result.artifacts[0].sha256))) == 7


def test_equal_pictures_stay_frames_of_a_gif_and_look_alike():
    still = np.full((32, 48, 3), 255, dtype=np.uint8)
    frames = _frames(video.encode([still] * 4, "gif", 10))
    assert frames.shape == (4, 32, 48, 3)
    assert (frames == 255).all()


def test_gif_of_many_colours_shows_them_within_its_palette():
    ramp = np.zeros((64, 256, 3), dtype=np.uint8)
    ramp[:, :, 0] = np.arange(256)
    shown = _frames(video.encode([ramp, np.flip(ramp, axis=1)], "gif", 10)).astype(int)
    assert np.abs(shown[0] - ramp).max() <= 16
    assert np.abs(shown[1] - np.flip(ramp, axis=1)).max() <= 16


@pytest.mark.parametrize("missing", [("libvpx-vp9",), ("libvpx-vp9", "libvpx")])
def test_webm_falls_back_to_vp8_and_says_when_nothing_is_left(missing):
    class Built:
        __version__ = "0"

        @staticmethod
        def Codec(name, _mode):
            if name in missing:
                raise ValueError(name)

    if len(missing) == 2:
        with pytest.raises(UnavailableError, match="webm"):
            video.codec_of(Built, "webm")
    else:
        assert video.codec_of(Built, "webm") == "libvpx"


def test_field_in_x_y_and_t_moves_as_the_formula_says(bench):
    result = bench.run(
        "plot.animation",
        frame_expr="exp(-((x - t)**2 + y**2)/0.1)",
        x_range=[-2, 2, 41],
        y_range=[-1, 1, 31],
        t_range=[-1, 1, 5],
        format="gif",
    )
    bench.check_declared("plot.animation", result)
    assert result.meta["mesh"] == [5, 31, 41]
    assert result.values["value_max"] == pytest.approx(1.0)
    frames = _frames(bench.blobs.read(result.artifacts[0].sha256)).astype(int)[:, 120:-120, 100:-170].sum(axis=3)
    centres = [float((bright * np.arange(bright.shape[1])).sum() / bright.sum()) for bright in frames]
    steps = np.diff(centres)
    assert (steps > 0).all()
    assert steps.std() < 0.2 * steps.mean()


def test_long_stored_field_is_thinned_to_the_cap_unless_more_frames_are_asked_for(bench):
    frames = np.zeros((310, 2, 2))
    frames[-1] = 1.0
    stored = _store(bench, frames)
    short = bench.run("plot.animation", frames=stored, emit_animation=False, times=list(range(310)))
    assert (short.values["frames"], short.values["time_end"], short.values["value_max"]) == (300, 309.0, 1.0)
    assert "300 of 310" in short.meta["warnings"][0]
    whole = bench.run("plot.animation", frames=stored, emit_animation=False, frame_count=310)
    assert (whole.values["frames"], whole.meta["warnings"]) == (310, [])


@pytest.mark.parametrize(
    ("params", "asked"),
    [
        ({"frame_expr": "x"}, {"frames_drawn": 60, "field_side": 0}),
        ({"frame_expr": "x", "frame_count": 301}, {"frames_drawn": 301}),
        ({"frame_expr": "x", "t_range": [0, 1, 400]}, {"frames_drawn": 400}),
        ({"frame_expr": "x", "y_range": [0, 1]}, {"field_side": 100}),
        ({"frame_expr": "x", "y_range": [0, 1, 170]}, {"field_side": 170}),
        ({"frame_expr": "x", "samples": 5000}, {"field_side": 0}),
    ],
)
def test_caps_of_a_film_see_what_was_asked_in_any_spelling(bench, params, asked):
    one = bench.registry.get("plot.animation")
    model = one.params.model_validate(params)
    assert {name: getattr(model, name) for name in asked} == asked
    assert {cap.field: (cap.most, cap.shown) for cap in one.caps} == {
        "frames_drawn": (300, "frame_count"),
        "field_side": (160, "samples"),
    }
