"""How people ask for the node types of `plot`."""

from __future__ import annotations

from physlab_mcp.words.entries import Entry, Inlet

_PLANE_NOUNS = ("function", "graph", "plane", "region", "square", "rectangle", "domain", "interval", "range")


PLOT: dict[str, Entry] = {
    "plot.function_2d": Entry(
        triggers=("picture of", "image of"),
        nouns=(*_PLANE_NOUNS, "curve", "figure", "picture", "plot", "line"),
        cues={"samples": ("point", "sample", "sample point"), "f": ("y", "f", "g")},
        inlets=(Inlet("f", ("values.result",), needed=False),),
        sets={"logarithmic y axis": {"y_log": True}, "logarithmic x axis": {"x_log": True}}
        | {"log y axis": {"y_log": True}, "log x axis": {"x_log": True}},
    ),
    "plot.parametric_2d": Entry(
        nouns=(*_PLANE_NOUNS, "curve", "plot", "figure"),
        cues={"x_t": ("x",), "y_t": ("y",), "samples": ("point", "sample")},
    ),
    "plot.surface_3d": Entry(
        triggers=("3d",),
        weak=("3d",),
        nouns=(*_PLANE_NOUNS, "surface", "plot", "three dimensional", "3d", "perspective"),
        cues={"samples": ("point", "sample", "point a side", "points per side"), "f": ("z", "f")},
    ),
    "plot.contour_2d": Entry(
        triggers=("level line", "contour line", "contour map"),
        nouns=(*_PLANE_NOUNS, "plot", "line", "map", "filled"),
        cues={"samples": ("point", "sample"), "f": ("z", "f"), "levels": ("level", "contour", "contour line", "line")},
    ),
    "plot.field_2d": Entry(
        triggers=("field of arrows", "direction field"),
        nouns=(*_PLANE_NOUNS, "plot", "vector", "field", "arrows", "lines"),
        cues={"grid_points": ("grid point", "arrow", "point"), "fx": ("fx", "F_x"), "fy": ("fy", "F_y")},
        sets={"streamline": {"kind": "stream"}, "stream line": {"kind": "stream"}, "stream plot": {"kind": "stream"}}
        | {"field line": {"kind": "stream"}, "arrow": {"kind": "quiver"}},
    ),
    "plot.phase_portrait": Entry(
        nouns=(*_PLANE_NOUNS, "plot", "system", "equation", "trajectory", "trajectories", "diagram"),
        cues={"grid_points": ("grid point",), "t_max": ("time",)},
        assumed={"trajectories": "no trajectories of its own, only the flow"},
    ),
    "plot.animation": Entry(
        weak=("gif", "mp4", "webm", "video"),
        nouns=("function", "wave", "travelling", "traveling", "movie", "film", "curve", "plot", "format", "file"),
        cues={
            "frame_count": ("frame",),
            "samples": ("point", "sample"),
            "fps": ("frame per second", "frames a second", "fps"),
            "frame_expr": ("y", "f", "u"),
        },
        inlets=(
            Inlet(
                "frames", ("arrays.frames",), {"times": "arrays.times_fs", "extent": "values.extent_a0"}, needed=False
            ),
        ),
        assumed={"x_range": "x from 0 to 1 (not stated)", "t_range": "t from 0 to 1 (not stated)"},
    ),
    "plot.volume_3d": Entry(
        triggers=("volume", "in 3d", "3d view", "sections", "slice", "3d plot"),
        nouns=(
            "density",
            "amplitude",
            "probability",
            "wave function",
            "plot",
            "surface",
            "orbital",
            "its",
            "iso",
            "cloud",
        ),
        cues={"level": ("level", "isolevel"), "enclosed": ("enclosing", "enclosed")},
        sets={"section": {"mode": "slices"}, "slice": {"mode": "slices"}, "iso surface": {"mode": "isosurface"}},
        inlets=(
            Inlet("volume", ("arrays.density", "arrays.amplitude"), {"extent": "values.extent_a0"}, {"unit": "$a_0$"}),
        ),
        assumed={"enclosed": "the surface encloses 0.8 of the field"},
    ),
    "plot.line": Entry(
        triggers=("plot", "draw"),
        weak=("plot", "draw"),
        nouns=("data", "curve", "line", "points", "spectrum", "against", "versus"),
        inlets=(Inlet("y", ("arrays.y",), {"x": "arrays.x"}),),
    ),
    "plot.heatmap": Entry(
        nouns=("data", "array", "density", "map", "plot", "table", "matrix", "values"),
        inlets=(Inlet("z", ("arrays.z",), {"x": "arrays.x", "y": "arrays.y"}),),
    ),
}
