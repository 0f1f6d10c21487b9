import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_data.errors import ProblemsError
from csc_data.loader import SpatialTransforms
from csc_data.loader.spatial import AXES, Orientation

ALL = {"mirror": {"axes": {"x": 0.5, "y": 0.5, "z": 0.1}}, "transpose": {"axes": ["x", "y", "z"]}}


def test_the_form_of_experiment_files_is_understood():
    assert SpatialTransforms.parse(ALL) == SpatialTransforms(mirror=(0.1, 0.5, 0.5), transpose=(0, 1, 2))
    assert SpatialTransforms.parse({"mirror": {"axes": ["y"]}}).mirror == (0, 0.5, 0)
    assert SpatialTransforms.parse(None) == SpatialTransforms.parse({})


def test_all_mistakes_are_reported_together_and_rotation_is_not_ignored():
    wrong = {
        "rotate": {"axes": {"z": [-180, 180]}},
        "miror": {"axes": ["x"]},
        "mirror": {"axes": {"x": 2, "w": 0.5}},
        "transpose": {"axes": "xy"},
    }
    with pytest.raises(ProblemsError) as caught:
        SpatialTransforms.parse(wrong)
    text = str(caught.value)
    assert len(caught.value.problems) == 5
    for words in ("rotate: is not available yet", "did you mean mirror?", "no axis 'w'", "probability", "'xy'"):
        assert words in text


@given(named=st.sets(st.sampled_from(AXES)), seed=st.integers(0, 10**6), flat=st.booleans())
def test_only_named_axes_move_and_a_flat_patch_stays_in_its_plane(named, seed, flat):
    transforms = SpatialTransforms.parse({"mirror": {"axes": sorted(named)}, "transpose": {"axes": sorted(named)}})
    shape = (1 if flat else 8, 8, 8)
    orientation = transforms.draw(np.random.default_rng(seed), shape)
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
    drawn = [transforms.draw(rng, (8, 8, 8)) for _ in range(4800)]
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
