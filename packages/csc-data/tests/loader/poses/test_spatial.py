import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from csc_data.errors import ProblemsError
from csc_data.loader import SpatialTransforms
from csc_data.loader.poses.spatial import AXES, Elastic, Orientation, draw_displacement

ALL = {"mirror": {"axes": {"x": 0.5, "y": 0.5, "z": 0.1}}, "transpose": {"axes": ["x", "y", "z"]}}


def test_the_form_of_experiment_files_is_understood():
    assert SpatialTransforms.parse(ALL) == SpatialTransforms(mirror=(0.1, 0.5, 0.5), transpose=(0, 1, 2))
    assert SpatialTransforms.parse({"mirror": {"axes": ["y"]}}).mirror == (0, 0.5, 0)
    assert SpatialTransforms.parse(None) == SpatialTransforms.parse({})


def test_rotation_scale_and_elastic_are_understood_in_all_their_forms():
    parse = SpatialTransforms.parse
    assert parse({"rotate": {"axes": {"z": [-180, 180], "x": [0, 90]}}}).rotate == ((-180, 180), None, (0, 90))
    assert parse({"rotate": {"z": 45}}).rotate == ((-45, 45), None, None)  # as cellmap-data has it
    assert parse({"rotate": {"axes": ["y"]}}).rotate == (None, (-180, 180), None)
    assert parse({"mirror": True, "transpose": True}) == parse({"mirror": list("zyx"), "transpose": list("zyx")})
    assert parse({"mirror": {"z": True, "y": False}}).mirror == (0.5, 0, 0)
    assert parse({"scale": {"axes": {"x": [0.8, 1.25]}}}).scale == (None, None, (0.8, 1.25))
    assert parse({"elastic": {"amplitude_nm": 10}}).elastic == Elastic(amplitude_nm=10)
    assert parse({"elastic": True}).elastic == Elastic()
    assert parse({"rotate": None, "mirror": {}}) == SpatialTransforms()


def test_all_mistakes_are_reported_together():
    wrong = {
        "miror": {"axes": ["x"]},
        "mirror": {"axes": {"x": 2, "w": 0.5}},
        "transpose": {"axes": "xy"},
        "rotate": {"axes": {"z": [180, -180], "y": "all"}, "axis": "z"},
        "scale": {"axes": {"x": [0, 2]}},
        "elastic": {"spacing": 100, "amplitude_nm": -1},
    }
    with pytest.raises(ProblemsError) as caught:
        SpatialTransforms.parse(wrong)
    text = str(caught.value)
    assert len(caught.value.problems) == 10
    for words in (
        "did you mean mirror?",
        "mirror.axes.w: expected one of 'z', 'y', 'x', got 'w'",
        "mirror.axes.x: must be at most 1, got 2",
        "'xy'",
        "rotate.axes.z: must be two numbers, the smaller first",
        "rotate.axes.y",
        "did you mean axes?",
        "scale.axes.x: must be above 0, got 0",
        "did you mean spacing_nm?",
        "elastic.amplitude_nm: must be above 0, got -1",
    ):
        assert words in text
    with pytest.raises(ProblemsError, match="folds space"):
        SpatialTransforms.parse({"elastic": {"spacing_nm": 40, "amplitude_nm": 20}})
    with pytest.raises(ProblemsError, match="mapping of transforms"):
        SpatialTransforms.parse(["mirror"])


@given(named=st.sets(st.sampled_from(AXES)), seed=st.integers(0, 10**6), flat=st.booleans())
def test_only_named_axes_move_and_a_flat_patch_stays_in_its_plane(named, seed, flat):
    transforms = SpatialTransforms.parse({"mirror": {"axes": sorted(named)}, "transpose": {"axes": sorted(named)}})
    shape = (1 if flat else 8, 8, 8)
    orientation = transforms.draw(np.random.default_rng(seed), shape).orientation
    for axis, name in enumerate(AXES):
        if name not in named:
            assert orientation.world_axis[axis] == axis
            assert not orientation.mirrored[axis]
    if flat:
        assert orientation.world_axis[0] == 0
    assert sorted(orientation.world_axis) == [0, 1, 2]


def test_every_orientation_comes_about_equally_often():
    transforms = SpatialTransforms.parse({"mirror": {"axes": ["z", "y", "x"]}, "transpose": {"axes": ["z", "y", "x"]}})
    rng = np.random.default_rng(0)
    drawn = [transforms.draw(rng, (8, 8, 8)).orientation for _ in range(4800)]
    counts = {orientation: drawn.count(orientation) for orientation in set(drawn)}
    assert len(counts) == 48
    assert 50 < min(counts.values()) <= max(counts.values()) < 160


@given(order=st.permutations([0, 1, 2]), mirrored=st.tuples(*[st.booleans()] * 3))
def test_turning_moves_voxels_the_way_the_orientation_says(order, mirrored):
    orientation = Orientation(world_axis=tuple(order), mirrored=mirrored)
    world = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    turned = orientation.turn(world)
    for index in np.ndindex(turned.shape):
        place = [0, 0, 0]
        for axis, i in enumerate(index):
            along = order[axis]
            place[along] = world.shape[along] - 1 - i if mirrored[along] else i
        assert turned[index] == world[tuple(place)]
    assert orientation.to_world(turned.shape) == world.shape
    ends = np.array([[0, 0, 0], np.array(turned.shape) - 1]) - (np.array(turned.shape) - 1) / 2
    for index, offset in zip(([0, 0, 0], [-1, -1, -1]), ends, strict=True):
        place = (np.array(world.shape) - 1) / 2 + orientation.matrix @ offset
        assert turned[tuple(index)] == world[tuple(place.astype(int))]


def rotation_of(pose):
    return pose.linear @ np.linalg.inv(pose.orientation.matrix)


@given(axis=st.sampled_from(AXES), low=st.floats(-180, 0), high=st.floats(0, 180), seed=st.integers(0, 10**6))
def test_a_rotation_is_about_its_axis_and_within_its_range(axis, low, high, seed):
    pose = SpatialTransforms.parse({"rotate": {"axes": {axis: [low, high]}}}).draw(
        np.random.default_rng(seed), (8, 8, 8)
    )
    rotation = rotation_of(pose)
    unit = np.eye(3)[AXES.index(axis)]
    np.testing.assert_allclose(rotation @ unit, unit, atol=1e-12)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    first, second = [n for n in range(3) if n != AXES.index(axis)]
    angle = np.rad2deg(np.arctan2(rotation[second, first], rotation[first, first]))
    assert low - 1e-6 <= angle <= high + 1e-6


@pytest.mark.parametrize(
    ("rotate", "in_plane"),
    [
        ({"z": [-30, 30]}, (-30, 30)),
        ({"x": [-180, 180], "y": [-90, 180]}, (-90, 180)),  # the official 2D configuration
        ({"z": [-10, 10], "x": [-180, 180], "y": [-90, 180]}, (-10, 10)),
        ({"x": [-180, 180]}, None),
    ],
)
def test_a_flat_patch_is_never_turned_out_of_its_plane(rotate, in_plane):
    transforms = SpatialTransforms.parse(
        {"rotate": {"axes": rotate}, "mirror": True, "transpose": True, "elastic": {"amplitude_nm": 20}}
    ).for_shape((1, 8, 8))
    assert transforms.rotate == (in_plane, None, None)
    rng = np.random.default_rng(0)
    for _ in range(50):
        pose = transforms.draw(rng, (1, 8, 8), (8.0, 64.0, 64.0))
        np.testing.assert_allclose(np.abs(pose.matrix[0]), [1, 0, 0], atol=1e-12)
        np.testing.assert_allclose(np.abs(pose.matrix[:, 0]), [1, 0, 0], atol=1e-12)
        assert not pose.displacement.values[0].any()
    solid = SpatialTransforms.parse({"rotate": {"axes": rotate}})
    assert solid.for_shape((2, 8, 8)) is solid


def test_scale_is_as_often_larger_as_smaller_and_the_same_where_ranges_are():
    rng = np.random.default_rng(1)
    transforms = SpatialTransforms.parse({"scale": {"axes": {"y": [0.5, 2], "x": [0.5, 2]}}})
    factors = np.array([np.diag(transforms.draw(rng, (8, 8, 8)).linear) for _ in range(400)])
    assert (factors[:, 0] == 1).all()
    np.testing.assert_array_equal(factors[:, 1], factors[:, 2])
    assert factors.min() >= 0.5
    assert factors.max() <= 2
    assert 150 < (factors[:, 1] > 1).sum() < 250


def test_an_elastic_displacement_is_smooth_and_as_large_as_asked():
    elastic = Elastic(spacing_nm=100, amplitude_nm=12)
    extent = (640.0, 640.0, 640.0)
    fields = [draw_displacement(np.random.default_rng(n), elastic, (80, 80, 80), extent) for n in range(12)]
    for field in fields:
        count = np.array(field.values.shape[1:])
        end = field.begin + (count - 1) * field.step
        assert (field.begin <= -np.array(extent) / 2).all()
        assert (end >= np.array(extent) / 2).all()
        # No fold: neighbours never change places.
        assert np.abs(np.diff(field.values[0], axis=0)).max() < field.step[0]
    spread = np.std([field.values for field in fields])
    assert 6 < spread < 13


def test_between_the_points_that_are_drawn_the_displacement_is_a_cubic_spline():
    elastic = Elastic(spacing_nm=40, amplitude_nm=8)
    for shape, extent in (((20, 30, 40), (160.0, 240.0, 320.0)), ((1, 30, 40), (8.0, 240.0, 320.0))):
        field = draw_displacement(np.random.default_rng(3), elastic, shape, extent).values
        drawn = field[:, :: 1 if shape[0] == 1 else 4, ::4, ::4].astype(np.float64)
        ends = zip(drawn.shape[1:], field.shape[1:], strict=True)
        at = np.meshgrid(*(np.linspace(0, n - 1, m) for n, m in ends), indexing="ij")
        for part, points in zip(field, drawn, strict=True):
            expected = ndimage.map_coordinates(points, at, order=3, mode="nearest")
            np.testing.assert_allclose(part, expected, atol=1e-3)
