"""Triangulated level surfaces of a scalar field on a regular grid, by marching tetrahedra.

Each grid cell is cut along its main diagonal into six tetrahedra that match across faces, and each tetrahedron
contributes no, one or two triangles. Sources: B. A. Payne and A. W. Toga, IEEE Computer Graphics and Applications
10(5), 33 (1990); A. Doi and A. Koide, IEICE Transactions E74, 214 (1991).
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def _tetrahedra() -> npt.NDArray[np.intp]:
    """Corners of the six tetrahedra as offsets in a unit cell, shape (6, 4, 3): one path 000 -> 111 per axis order."""
    cells: list[list[npt.NDArray[np.intp]]] = []
    for order in permutations(range(3)):
        corner = np.zeros(3, dtype=np.intp)
        path = [corner.copy()]
        for axis in order:
            corner[axis] = 1
            path.append(corner.copy())
        cells.append(path)
    return np.array(cells)


def triangulate(field: npt.ArrayLike, level: float, origin: npt.ArrayLike, spacing: npt.ArrayLike) -> Array:
    """Triangles of the surface field = level: shape (triangles, 3 corners, 3 coordinates x, y, z).

    `field` has shape (nx, ny, nz), all sides >= 2, and finite values; `origin` is the place of field[0, 0, 0] and
    `spacing` the grid step, each (3,), in the unit of the result. Corners are placed by linear interpolation along
    tetrahedron edges, so a distance is right to second order in the spacing. Triangles wind so that their normal
    points to smaller values (outward where the field is larger inside).
    """
    values = np.asarray(field, dtype=np.float64)
    inside = values > level
    cells = tuple(n - 1 for n in values.shape)
    low = np.ones(cells, dtype=bool)
    high = np.zeros(cells, dtype=bool)
    for offset in np.ndindex(2, 2, 2):
        part = inside[tuple(slice(o, o + n) for o, n in zip(offset, cells, strict=True))]
        low &= part
        high |= part
    crossing = np.argwhere(high & ~low)
    pieces: list[Array] = []
    for tetrahedron in _tetrahedra():
        corners = crossing[:, None, :] + tetrahedron[None]
        found = values[corners[..., 0], corners[..., 1], corners[..., 2]] - level
        pieces += _cut(corners.astype(np.float64), found)
    if not pieces:
        return np.empty((0, 3, 3))
    steps = np.asarray(spacing, dtype=np.float64)
    return np.concatenate(pieces) * steps + np.asarray(origin, dtype=np.float64)


def _cut(corners: Array, values: Array) -> list[Array]:
    """Triangles, each (k, 3, 3), of tetrahedra with corners (t, 4, 3) and field minus level (t, 4)."""
    order = np.argsort(-values, axis=1, kind="stable")
    values = np.take_along_axis(values, order, axis=1)
    corners = np.take_along_axis(corners, order[..., None], axis=1)
    count = np.sum(values > 0, axis=1)

    def edge(rows: npt.NDArray[np.bool_], a: int, b: int) -> Array:
        share = values[rows, a] / (values[rows, a] - values[rows, b])
        return corners[rows, a] + share[:, None] * (corners[rows, b] - corners[rows, a])

    pieces: list[Array] = []
    one, two, three = count == 1, count == 2, count == 3
    if one.any():
        pieces.append(_wind(np.stack([edge(one, 0, k) for k in (1, 2, 3)], axis=1), corners[one, 0]))
    if three.any():
        pieces.append(_wind(np.stack([edge(three, k, 3) for k in (0, 1, 2)], axis=1), corners[three, :3].mean(axis=1)))
    if two.any():
        quad = [edge(two, 0, 2), edge(two, 0, 3), edge(two, 1, 3), edge(two, 1, 2)]
        middle = corners[two, :2].mean(axis=1)
        pieces.append(_wind(np.stack([quad[0], quad[1], quad[2]], axis=1), middle))
        pieces.append(_wind(np.stack([quad[0], quad[2], quad[3]], axis=1), middle))
    return pieces


def _wind(triangles: Array, inner: Array) -> Array:
    """Turn triangles (k, 3, 3) so that their normals point away from the inner points (k, 3)."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    wrong = np.einsum("kx,kx->k", normals, triangles.mean(axis=1) - inner) < 0
    triangles[wrong] = triangles[wrong][:, ::-1]
    return triangles


def area(triangles: Array) -> float:
    """Total area of triangles (k, 3, 3), in their unit squared."""
    cross = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    return 0.5 * float(np.sum(np.linalg.norm(cross, axis=1)))


def enclosed_volume(triangles: Array) -> float:
    """Volume inside closed surfaces of outward triangles (k, 3, 3), in their unit cubed (divergence theorem)."""
    return float(np.sum(np.einsum("kx,kx->k", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])))) / 6.0


def level_enclosing(density: npt.ArrayLike, fraction: float) -> float:
    """The level whose region {density > level} just holds `fraction` (0..1) of the grid's total; density >= 0."""
    ordered = np.sort(np.asarray(density, dtype=np.float64).ravel())[::-1]
    total = np.cumsum(ordered)
    index = min(int(np.searchsorted(total, fraction * total[-1])), ordered.size - 2)
    return 0.5 * float(ordered[index] + ordered[index + 1])
