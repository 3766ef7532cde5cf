"""Marching tetrahedra."""

import numpy as np
import pytest

from physlab_mcp.physics import isosurface


def _ball(points):
    axis = np.linspace(-1.5, 1.5, points)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    step = axis[1] - axis[0]
    return isosurface.triangulate(1 - np.sqrt(x * x + y * y + z * z), 0.0, [-1.5] * 3, [step] * 3)


def test_area_and_volume_of_a_ball_converge_to_second_order():
    errors = [abs(isosurface.enclosed_volume(_ball(points)) / (4 / 3 * np.pi) - 1) for points in (16, 31)]
    assert errors[1] < 0.01
    assert errors[0] / errors[1] > 3
    assert isosurface.area(_ball(31)) == pytest.approx(4 * np.pi, rel=0.01)


def test_surface_is_closed_every_edge_is_shared_by_two_triangles():
    corners = np.round(_ball(14) * 1e9).astype(np.int64)
    _, index = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    triangles = index.reshape(-1, 3)
    triangles = triangles[(triangles[:, 0] != triangles[:, 1]) & (triangles[:, 1] != triangles[:, 2])]
    triangles = triangles[triangles[:, 0] != triangles[:, 2]]
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert set(counts) == {2}


def test_triangles_face_outward():
    triangles = _ball(12)
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    assert np.all(np.einsum("kx,kx->k", normals, triangles.mean(axis=1)) >= -1e-12)


def test_axes_keep_their_order_origin_and_spacing():
    field = np.zeros((4, 3, 3))
    field[2, 1, 1] = 1.0
    triangles = isosurface.triangulate(field, 0.5, [10.0, 20.0, 30.0], [1.0, 2.0, 3.0])
    np.testing.assert_allclose(triangles.reshape(-1, 3).min(axis=0), [11.5, 21.0, 31.5])
    np.testing.assert_allclose(triangles.reshape(-1, 3).max(axis=0), [12.5, 23.0, 34.5])


def test_a_level_that_is_not_crossed_gives_no_triangles():
    assert isosurface.triangulate(np.zeros((3, 3, 3)), 1.0, [0] * 3, [1] * 3).shape == (0, 3, 3)


def test_level_enclosing_a_share_holds_that_share():
    density = np.arange(1.0, 101.0)
    level = isosurface.level_enclosing(density, 0.5)
    assert density[density >= level].sum() / density.sum() == pytest.approx(0.5, abs=0.02)
