"""What is read lies where it should: volumes that are known functions of (z, y, x), any grid and box, from files.

The expected values are computed from nm positions alone, with none of the code that reads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csc_data.geometry import Grid, Roi
from csc_data.volumes import open_volume, write_multiscale

decimals = st.integers(50, 2000).map(lambda n: n / 100)
slopes = st.integers(-100, 100).map(lambda n: n / 100)
EXAMPLES = settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Case:
    """A volume of two levels, and what is asked of it; all in nm, as numpy arrays."""

    size: np.ndarray
    shape: np.ndarray
    first: np.ndarray
    factors: np.ndarray
    begin: np.ndarray
    extent: np.ndarray
    wanted: np.ndarray

    @property
    def low(self):
        """The first corner of the volume."""
        return self.first - self.size / 2

    def levels(self):
        """Voxel size, first centre and shape of both levels, counted from the first corner."""
        for factors in (np.ones(3), self.factors):
            size = self.size * factors
            yield size, self.low + size / 2, (self.shape // factors).astype(int)

    def grids(self):
        return [Grid(voxel_size=size, translation=first, shape=shape) for size, first, shape in self.levels()]

    def used(self):
        """Voxel size and shape of the coarsest level that is not coarser than asked, else of the finest."""
        (fine, _, shape), (coarse, _, fewer) = self.levels()
        return (coarse, fewer) if (coarse <= self.wanted * 1.001).all() else (fine, shape)

    def fields(self, function):
        """The function at the voxel centres of each level."""
        return [function(*positions(first, size, shape)) for size, first, shape in self.levels()]

    def roi(self):
        return Roi(tuple(self.begin), tuple(self.begin + self.extent))

    def asked(self, shape):
        """Positions of the voxel centres that a read of the box gives."""
        return positions(self.begin + self.wanted / 2, self.wanted, shape)


def positions(first, size, shape):
    z, y, x = (f + s * np.arange(n) for f, s, n in zip(first, size, shape, strict=True))
    return z[:, None, None], y[None, :, None], x[None, None, :]


@st.composite
def cases(draw):
    """Any anisotropy and offset; a box that may reach beyond the volume; finer or coarser than what is stored."""
    size = np.array(draw(st.tuples(*[decimals] * 3)))
    shape = np.array(draw(st.tuples(*[st.integers(4, 20)] * 3)))
    first = np.array(draw(st.tuples(*[st.integers(-100_000, 100_000)] * 3))) / 100
    share = np.array(draw(st.tuples(*[st.floats(-0.2, 0.9)] * 3)))
    ratio = np.array(draw(st.tuples(*[st.floats(0.3, 3.5)] * 3)))
    count = np.array(draw(st.tuples(*[st.integers(1, 9)] * 3)))
    wanted = np.round(size * ratio, 2)
    return Case(
        size=size,
        shape=shape,
        first=first,
        factors=np.minimum(np.array(draw(st.tuples(*[st.integers(1, 3)] * 3))), shape),
        begin=np.round(first - size / 2 + share * shape * size, 2),
        extent=wanted * count,
        wanted=wanted,
    )


def within(case, coordinates, margin):
    """Where positions lie in the level that is read, and further than a margin from its faces."""
    size, shape = case.used()
    inside = True
    for axis, values in enumerate(coordinates):
        low, high = case.low[axis], case.low[axis] + size[axis] * shape[axis]
        inside = inside & (values >= low + margin[axis]) & (values <= high - margin[axis])
    return np.broadcast_to(inside, tuple(len(c.ravel()) for c in coordinates))


@given(case=cases(), slope=st.tuples(*[slopes] * 3), dtype=st.sampled_from(["u1", "f4"]))
@EXAMPLES
def test_linear_functions_come_back_within_a_255th_of_full_scale(tmp_path_factory, case, slope, dtype):
    extent = case.size * case.shape
    total = sum(map(abs, slope)) or 1.0
    full = 255 if dtype == "u1" else 1

    def linear(z, y, x):
        """From 0 to full scale over the volume."""
        share = sum(s * (p - low) / e for s, p, low, e in zip(slope, (z, y, x), case.low, extent, strict=True))
        return full * np.broadcast_to(share - min(sum(s for s in slope if s < 0), 0), share.shape) / total

    path = tmp_path_factory.mktemp("v") / "x.zarr"
    fields = case.fields(linear)
    if dtype == "u1":
        fields = [np.rint(field) for field in fields]
    write_multiscale(path, [f.astype(dtype) for f in fields], case.grids(), chunks=(5, 6, 7))
    values = open_volume(path).read_roi(case.roi(), tuple(case.wanted), order=1).astype(np.float64)
    coordinates = case.asked(values.shape)
    assert values.shape == tuple(np.rint(case.extent / case.wanted).astype(int))
    error = np.abs(values - linear(*coordinates)) / full
    # Between the outermost centres and the faces of the volume the edge value holds; further in, nothing is lost.
    edge, hair = case.used()[0] / 2, 1e-3 * case.size
    most = 1.001 / 255 if dtype == "u1" else 1e-5
    assert error[within(case, coordinates, edge + hair)].max(initial=0) <= most
    rim = sum(abs(s) * m / e for s, m, e in zip(slope, edge, extent, strict=True)) / total
    assert error[within(case, coordinates, hair)].max(initial=0) <= most + rim
    assert not values[~within(case, coordinates, -hair)].any()


@given(
    case=cases(),
    normal=st.tuples(*[slopes] * 3),
    share=st.tuples(*[st.floats(0.1, 0.9)] * 3),
)
@EXAMPLES
def test_labels_are_right_further_than_half_a_voxel_from_a_boundary(tmp_path_factory, case, normal, share):
    centre = case.low + np.array(share) * case.size * case.shape

    def plane(z, y, x):
        return sum(n * (p - c) for n, p, c in zip(normal, (z, y, x), centre, strict=True))

    def label(z, y, x):
        """Two sides of an oblique plane, cut by an upright one; never 0."""
        return 1 + (plane(z, y, x) > 0) + 2 * (z > centre[0])

    path = tmp_path_factory.mktemp("v") / "x.zarr"
    fields = [np.asarray(field).astype("u2") for field in case.fields(label)]
    write_multiscale(path, fields, case.grids(), chunks=(5, 6, 7))
    values = open_volume(path).read_roi(case.roi(), tuple(case.wanted), order=0)
    coordinates = case.asked(values.shape)
    half, hair = case.used()[0] / 2 * 1.001, 1e-3 * case.size
    far = np.abs(plane(*coordinates)) > sum(abs(n) * h for n, h in zip(normal, half, strict=True))
    far = far & (np.abs(coordinates[0] - centre[0]) > half[0]) & within(case, coordinates, hair)
    right = np.broadcast_to(label(*coordinates), values.shape)
    np.testing.assert_array_equal(values[far], right[far])
    assert not values[~within(case, coordinates, -hair)].any()


def test_the_tests_above_have_something_to_look_at():
    """Most positions of most cases lie in the volume, away from its faces."""
    shares = []

    @given(case=cases())
    @settings(max_examples=100, deadline=None, database=None, derandomize=True)
    def collect(case):
        shape = np.rint(case.extent / case.wanted).astype(int)
        shares.append(within(case, case.asked(shape), case.used()[0] / 2).mean())

    collect()
    assert np.mean(shares) > 0.15
    assert np.mean(np.array(shares) > 0) > 0.4


@pytest.mark.parametrize("voxel_size", [(5.24, 4, 4), (8, 8, 8)])
def test_without_a_voxel_size_a_box_is_read_at_the_finest_level(tmp_path, voxel_size):
    grid = Grid(voxel_size=voxel_size, translation=tuple(v / 2 for v in voxel_size), shape=(6, 7, 8))
    data = np.random.default_rng(0).integers(0, 255, grid.shape).astype("u1")
    write_multiscale(tmp_path / "x.zarr", [data], [grid])
    begin = tuple(v * 2 for v in voxel_size)
    end = tuple(v * 5 for v in voxel_size)
    np.testing.assert_array_equal(open_volume(tmp_path / "x.zarr").read_roi(Roi(begin, end)), data[2:5, 2:5, 2:5])
