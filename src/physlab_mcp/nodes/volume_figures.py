"""Pictures of fields on 3-D grids; every function draws into a new figure and is called within `figures.style()`."""

from __future__ import annotations

from typing import Any

from physlab_mcp.nodes import figures


def centres(low: float, high: float, points: int) -> Any:
    """Coordinates of `points` cell centres from low to high, (points,)."""
    import numpy as np

    return low + (np.arange(points) + 0.5) * (high - low) / points


def slices(field: Any, box: tuple[float, ...], title: str, unit: str, label: str) -> Any:
    """The three sections through the middle of field (x, y, z) on one colour scale."""
    from matplotlib.colors import Normalize, PowerNorm, TwoSlopeNorm

    low, high = float(field.min()), float(field.max())
    if low < 0 < high:
        top = max(-low, high)
        norm, colours = TwoSlopeNorm(0.0, -top, top), "RdBu_r"
    else:
        norm = PowerNorm(0.5, low, high) if high > low >= 0 else Normalize(low, high)
        colours = figures.SEQUENTIAL
    middle = [side // 2 for side in field.shape]
    places = [centres(box[2 * axis], box[2 * axis + 1], field.shape[axis])[middle[axis]] for axis in range(3)]
    cuts = (
        ("x", "y", field[:, :, middle[2]], box[0:4], "z", places[2]),
        ("x", "z", field[:, middle[1], :], (*box[0:2], *box[4:6]), "y", places[1]),
        ("y", "z", field[middle[0]], box[2:6], "x", places[0]),
    )
    figure = figures.new_figure(8.6, 2.9)
    row = figure.subplots(1, 3)
    image: Any = None
    for axes, (across, up, plane, extent, fixed, place) in zip(row, cuts, strict=True):
        image = axes.imshow(
            plane.T, origin="lower", extent=extent, cmap=colours, norm=norm, interpolation="bilinear", aspect="equal"
        )
        axes.grid(visible=False)
        axes.set(xlabel=figures.axis_label(f"${across}$", unit), ylabel=figures.axis_label(f"${up}$", unit))
        axes.set_title(figures.axis_label(f"${fixed}$ = {place:.2f}", "") + (f" {unit}" if unit else ""), fontsize=9)
    figure.colorbar(image, ax=list(row), label=label, shrink=0.78, pad=0.01)
    if title:
        figure.suptitle(title, fontsize=10.5)
    return figure


def isosurface(
    surfaces: list[Any], field: Any, box: tuple[float, ...], *, title: str, unit: str, view: tuple[float, float]
) -> Any:
    """Triangles, each array (k, 3, 3) in its own colour, shaded by the gradient of field (x, y, z) in the box."""
    import numpy as np
    from matplotlib.colors import to_rgb
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    figure = figures.new_figure(5.2, 4.9)
    axes: Any = figure.add_subplot(projection="3d", computed_zorder=False)
    elevation, azimuth = np.radians(view)
    toward = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    light = toward + np.array([0.0, 0.0, 0.9]) + 0.6 * np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    light /= np.linalg.norm(light)
    half_way = (light + toward) / np.linalg.norm(light + toward)
    faces: list[Any] = []
    for colour, part in zip(figures.PALETTE, surfaces, strict=False):
        outward = normals(part, field, box) * (1.0 if colour == figures.PALETTE[0] else -1.0)
        faces.append(shade(outward, to_rgb(colour), light, half_way))
    triangles = np.concatenate(surfaces)
    mesh = Poly3DCollection(
        list(triangles), facecolors=np.concatenate(faces), edgecolors=np.concatenate(faces), linewidths=0.25
    )
    mesh.set_rasterized(True)
    axes.add_collection3d(mesh)
    low, high = triangles.min(axis=(0, 1)), triangles.max(axis=(0, 1))
    reach = 0.56 * float(np.max(high - low))
    limits = [(centre - reach, centre + reach) for centre in 0.5 * (low + high)]
    axes.set(xlim=limits[0], ylim=limits[1], zlim=limits[2])
    axes.set_box_aspect((1, 1, 1), zoom=0.95)
    axes.view_init(*view)
    for axis, name in ((axes.xaxis, "x"), (axes.yaxis, "y"), (axes.zaxis, "z")):
        axis.set_pane_color((0.97, 0.97, 0.97, 1.0))
        axis.set_label_text(figures.axis_label(f"${name}$", unit))
        axis.set_major_locator(_few_ticks())
    axes.tick_params(labelsize=8, pad=1)
    if title:
        axes.set_title(title)
    return figure


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5)


def normals(triangles: Any, field: Any, box: tuple[float, ...]) -> Any:
    """Unit vectors down the gradient of field (x, y, z) at the middle of each triangle: (k, 3) from (k, 3, 3)."""
    import numpy as np
    from scipy.ndimage import map_coordinates

    steps = np.array([(box[2 * i + 1] - box[2 * i]) / field.shape[i] for i in range(3)])
    origin = np.array([box[0], box[2], box[4]]) + 0.5 * steps
    places = ((triangles.mean(axis=1) - origin) / steps).T
    slopes = np.gradient(np.asarray(field, dtype=np.float64), *steps)
    downhill = -np.stack([map_coordinates(slope, places, order=1, mode="nearest") for slope in slopes], axis=1)
    lengths = np.linalg.norm(downhill, axis=1, keepdims=True)
    return downhill / np.where(lengths > 0, lengths, 1.0)


def shade(outward: Any, colour: tuple[float, float, float], light: Any, half_way: Any) -> Any:
    """RGB (k, 3) from unit normals (k, 3): ambient, diffuse and a soft highlight (J. F. Blinn, SIGGRAPH 1977)."""
    import numpy as np

    diffuse = np.clip(outward @ light, 0.0, 1.0)
    shine = np.clip(outward @ half_way, 0.0, 1.0) ** 24
    rgb = np.asarray(colour)[None] * (0.42 + 0.62 * diffuse[:, None]) + 0.28 * shine[:, None]
    return np.clip(rgb, 0.0, 1.0)
