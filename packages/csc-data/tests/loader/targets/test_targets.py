import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csc_data.errors import InvalidArgumentError, ProblemsError
from csc_data.loader.targets import (
    AffinityTarget,
    BinaryTarget,
    BoundaryTarget,
    SignedDistanceTarget,
    common_margin,
    compute_targets,
    parse_targets,
)
from csc_data.loader.targets.distances import reach_in_voxels, square_distances
from csc_data.volumes.annotation_values import ABSENT, PRESENT, UNKNOWN

ANISOTROPIC = (12.0, 5.0, 3.0)
LONG = AffinityTarget(offsets=((-1, 0, 0), (0, 2, 0), (1, -1, 3)))

voxel_sizes = st.tuples(*[st.sampled_from([3.0, 4.0, 5.24, 8.0, 12.0])] * 3)
seeds = st.integers(0, 2**32)


def random_objects(rng, shape, *, unknown=0.0, objects=3):
    """Blocky objects, so that some distances are large, with single voxels beside them."""
    coarse = rng.integers(0, objects + 1, [-(-n // 3) for n in shape])
    ids = coarse
    for axis, n in enumerate(shape):
        ids = np.repeat(ids, 3, axis=axis).take(np.arange(n), axis=axis)
    ids = np.where(rng.random(shape) < 0.03, 0, ids)
    codes = (ids > 0).astype(np.uint8)
    codes[rng.random(shape) < unknown] = UNKNOWN
    return codes, ids


def distances_by_definition(different, voxel_size, inner):
    """Distance from each voxel of a box to the nearest of the voxels that ``different(index)`` says differ from it."""
    result = np.full([s.stop - s.start for s in inner], np.inf)
    for place in itertools.product(*[range(s.start, s.stop) for s in inner]):
        others = np.argwhere(different(place))
        if len(others):
            away = np.maximum(np.abs(others - place) - 0.5, 0) * voxel_size
            result[tuple(p - s.start for p, s in zip(place, inner, strict=True))] = np.sqrt((away**2).sum(axis=1)).min()
    return result


def box(shape, margin):
    return tuple(slice(m, n - m) for n, m in zip(shape, margin, strict=True))


def pad(codes, margin):
    return np.pad(codes, [(0, 0), *[(m, m) for m in margin]], mode="edge")


@settings(deadline=None, max_examples=40)
@given(seed=seeds, voxel_size=voxel_sizes, reach=st.floats(2.0, 16.0), in_plane=st.booleans())
def test_distances_are_those_of_the_definition(seed, voxel_size, reach, in_plane):
    rng = np.random.default_rng(seed)
    margin = reach_in_voxels(reach, voxel_size, in_plane=in_plane)
    labels = random_objects(rng, [2 * m + 3 for m in margin])[1]
    found = np.sqrt(square_distances(labels, voxel_size, reach, in_plane=in_plane))

    def differs(place):
        other = labels != labels[place]
        if in_plane:
            other &= np.arange(labels.shape[0])[:, None, None] == place[0]
        return other

    expected = distances_by_definition(differs, voxel_size, box(labels.shape, margin))
    np.testing.assert_allclose(found, np.minimum(expected, reach), rtol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("scale_nm", [7.0, 25.0])
def test_the_distance_to_a_plane_is_exact_along_every_axis(axis, scale_nm):
    target = SignedDistanceTarget(scale_nm=scale_nm)
    margin = target.margin(ANISOTROPIC)
    shape = [2 * m + 4 for m in margin]
    shape[axis] += 20
    first = margin[axis] + 9  # of the voxels that are present
    index = np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(3)])
    codes = np.broadcast_to((index >= first).astype(np.uint8), shape)[None]
    d = (index - first + 0.5) * ANISOTROPIC[axis]
    expected = np.tanh(np.clip(d / scale_nm, -3, 3))
    found = target.compute(codes, None, ANISOTROPIC)[0]
    inner = expected.take(np.arange(margin[axis], shape[axis] - margin[axis]), axis=axis)
    np.testing.assert_allclose(found, np.broadcast_to(inner, found.shape), atol=1e-6)
    assert np.abs(found).max() <= np.tanh(3) + 1e-6


def ball(shape, voxel_size, radius):
    away = [
        ((np.arange(n) - (n - 1) / 2) * size).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, (n, size) in enumerate(zip(shape, voxel_size, strict=True))
    ]
    return radius - np.sqrt(sum(a**2 for a in away))


def test_the_distance_to_a_ball_is_right_within_a_voxel():
    target = SignedDistanceTarget(scale_nm=20.0)
    margin = target.margin(ANISOTROPIC)
    shape = [n + 2 * m for n, m in zip((12, 24, 40), margin, strict=True)]
    depth = ball(shape, ANISOTROPIC, 55.0)
    found = target.compute((depth > 0).astype(np.uint8)[None], None, ANISOTROPIC)[0]
    depth = depth[box(shape, margin)]
    np.testing.assert_array_equal(found > 0, depth > 0)
    distance = np.arctanh(found) * 20.0
    near = np.abs(depth) < 45
    assert near.sum() > 2000
    # The surface of the voxels lies within half a voxel's diagonal of the ball's.
    assert np.abs(distance - depth)[near].max() < np.linalg.norm(ANISOTROPIC) / 2
    assert np.abs(np.mean((distance - depth)[near])) < 1.0


def test_a_slab_has_its_ridge_in_the_middle():
    target = SignedDistanceTarget(scale_nm=10.0)
    margin = target.margin((8, 8, 8))
    codes = np.zeros((1, 2 * margin[0] + 9, 2 * margin[1] + 1, 2 * margin[2] + 1), dtype=np.uint8)
    codes[:, margin[0] + 2 : margin[0] + 7] = 1
    profile = np.arctanh(target.compute(codes, None, (8, 8, 8))[0, :, 0, 0]) * 10
    np.testing.assert_allclose(profile, [-12, -4, 4, 12, 20, 12, 4, -4, -12], rtol=1e-5)


@settings(deadline=None, max_examples=30)
@given(seed=seeds, voxel_size=voxel_sizes, share=st.sampled_from([0.003, 0.05, 0.4]))
def test_a_signed_distance_is_given_where_it_is_certain_and_nowhere_else(seed, voxel_size, share):
    rng = np.random.default_rng(seed)
    target = SignedDistanceTarget(scale_nm=4.0)
    margin = target.margin(voxel_size)
    codes = random_objects(rng, [2 * m + 3 for m in margin], unknown=share)[0]
    found = target.compute(codes[None], None, voxel_size)[0]
    inner = box(codes.shape, margin)
    for chance in (0.0, 0.5, 1.0):
        guess = np.where(codes == UNKNOWN, rng.random(codes.shape) < chance, codes).astype(np.uint8)
        full = target.compute(guess[None], None, voxel_size)[0]
        given_there = np.isfinite(found)
        np.testing.assert_allclose(found[given_there], full[given_there], atol=1e-6)
    known = codes != UNKNOWN
    to_known = distances_by_definition(lambda p: known & (codes != codes[p]), voxel_size, inner)
    to_unknown = distances_by_definition(lambda p: ~known, voxel_size, inner)
    uncertain = (to_unknown < 12.0 - 1e-4) & (to_unknown < to_known + 1e-4)
    np.testing.assert_array_equal(np.isnan(found), uncertain | (codes[inner] == UNKNOWN))


def test_boundaries_mark_both_sides_up_to_the_width():
    target = BoundaryTarget(width_nm=20.0)
    assert target.margin(ANISOTROPIC) == (2, 4, 7)
    for axis, thickness in ((0, 2), (1, 4), (2, 7)):  # 6, 18 of 12 nm; 2.5 ... 17.5 of 5 nm; 1.5 ... 19.5 of 3 nm
        shape = [2 * m + 1 for m in target.margin(ANISOTROPIC)]
        shape[axis] += 30
        middle = shape[axis] // 2
        codes = np.zeros((1, *shape), dtype=np.uint8)
        np.moveaxis(codes[0], axis, 0)[middle:] = 1
        profile = np.moveaxis(target.compute(codes, None, ANISOTROPIC)[0], axis, 0)[:, 0, 0]
        begin = middle - target.margin(ANISOTROPIC)[axis]
        expected = np.zeros(len(profile))
        expected[begin - thickness : begin + thickness] = 1
        np.testing.assert_array_equal(profile, expected)


def test_a_boundary_at_exactly_the_width_counts():
    codes = pad(np.array([[[[0, 0, 0, 1, 1, 1]]]], dtype=np.uint8), (2, 2, 2))
    found = BoundaryTarget(width_nm=12.0).compute(codes, None, (8, 8, 8))
    np.testing.assert_array_equal(found[0, 0, 0], [0, 1, 1, 1, 1, 0])


def test_touching_objects_have_a_boundary_between_them_where_ids_tell_them_apart():
    target = BoundaryTarget(width_nm=4.0)
    ids = np.zeros((1, 3, 3, 14), dtype=np.uint64)
    ids[..., 2:7], ids[..., 7:12] = 7, 2**40  # ids beyond 32 bits
    codes = (ids > 0).astype(np.uint8)
    apart = target.compute(codes, ids, (8, 8, 8))[0, 0, 0]
    np.testing.assert_array_equal(apart, [1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1])
    for none in (None, np.zeros_like(ids)):
        together = target.compute(codes, none, (8, 8, 8))[0, 0, 0]
        np.testing.assert_array_equal(together, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1])


def test_what_is_unknown_hides_a_boundary_behind_it_only():
    codes = np.zeros((1, 3, 3, 14), dtype=np.uint8)
    codes[..., 7:] = 1
    codes[..., 11:] = UNKNOWN
    found = BoundaryTarget(width_nm=4.0).compute(codes, None, (8, 8, 8))[0, 0, 0]
    nan = np.nan
    np.testing.assert_array_equal(found, [0, 0, 0, 0, 0, 1, 1, 0, 0, nan, nan, nan])


@settings(deadline=None, max_examples=25)
@given(seed=seeds, voxel_size=voxel_sizes)
def test_a_boundary_is_certain_where_it_is_given(seed, voxel_size):
    rng = np.random.default_rng(seed)
    target = BoundaryTarget(width_nm=10.0)
    margin = target.margin(voxel_size)
    codes, ids = random_objects(rng, [2 * m + 4 for m in margin], unknown=0.03)
    found = target.compute(codes[None], ids[None], voxel_size)[0]
    given_there = np.isfinite(found)
    for other in (ABSENT, PRESENT):
        guess = np.where(codes == UNKNOWN, other, codes).astype(np.uint8)
        for stranger in (0, 99):
            full = target.compute(guess[None], np.where(codes == UNKNOWN, stranger, ids)[None], voxel_size)[0]
            np.testing.assert_array_equal(found[given_there], full[given_there])


def affinity_by_definition(codes, ids, offset, inner):
    result = np.zeros([s.stop - s.start for s in inner], dtype=np.float32)
    for place in np.ndindex(*result.shape):
        one = tuple(p + s.start for p, s in zip(place, inner, strict=True))
        two = tuple(p + o for p, o in zip(one, offset, strict=True))
        if UNKNOWN in (codes[one], codes[two]):
            result[place] = np.nan
        else:
            result[place] = codes[one] == codes[two] == PRESENT and ids[one] == ids[two]
    return result


@settings(deadline=None, max_examples=40)
@given(
    seed=seeds,
    offsets=st.lists(st.tuples(*[st.integers(-3, 3)] * 3).filter(any), min_size=1, max_size=4, unique=True),
    dtype=st.sampled_from([np.uint8, np.int32, np.uint64]),
    with_ids=st.booleans(),
)
def test_affinities_are_those_of_the_definition(seed, offsets, dtype, with_ids):
    rng = np.random.default_rng(seed)
    target = AffinityTarget(offsets=offsets)
    margin = target.margin((8, 8, 8))
    pairs = [random_objects(rng, [2 * m + 4 for m in margin], unknown=0.1) for _ in range(2)]
    codes = np.stack([pair[0] for pair in pairs])
    ids = np.stack([pair[1] for pair in pairs]).astype(dtype)
    found = target.compute(codes, ids if with_ids else None, (8, 8, 8))
    inner = box(codes.shape[1:], margin)
    expected = [
        affinity_by_definition(codes[c], ids[c] if with_ids else np.zeros_like(ids[c]), offset, inner)
        for c in range(2)
        for offset in offsets
    ]
    np.testing.assert_array_equal(found, np.stack(expected))
    assert len(target.channel_names(["a", "b"])) == len(set(target.channel_names(["a", "b"]))) == len(found)


def test_negative_ids_name_objects_too():
    ids = np.array([[[[-5, -5, -2, 3, 3]]]])
    found = AffinityTarget(offsets=[(0, 0, 1)]).compute(np.ones(ids.shape, np.uint8), ids, (8, 8, 8))
    np.testing.assert_array_equal(found.ravel(), [0, 0, 1])  # of voxels 1, 2, 3


KINDS = [
    BinaryTarget(),
    SignedDistanceTarget(scale_nm=6.0),
    SignedDistanceTarget(scale_nm=6.0, in_plane=True),
    BoundaryTarget(width_nm=9.0),
    BoundaryTarget(width_nm=9.0, in_plane=True),
    LONG,
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@settings(deadline=None, max_examples=15)
@given(data=st.data(), seed=seeds, voxel_size=voxel_sizes)
def test_the_target_of_a_window_is_the_window_of_the_target(kind, data, seed, voxel_size):
    rng = np.random.default_rng(seed)
    margin = kind.margin(voxel_size)
    pairs = [random_objects(rng, [2 * m + 9 for m in margin], unknown=share) for share in (0, 0.01)]
    codes, ids = (np.stack([pair[i] for pair in pairs]) for i in (0, 1))
    whole = kind.compute(codes, ids, voxel_size)
    begin = [data.draw(st.integers(0, 7)) for _ in range(3)]
    shape = [data.draw(st.integers(1, 9 - b)) for b in begin]
    if data.draw(st.booleans()):
        shape[0] = 1  # a flat patch: its target is the plane of the whole
    part = (slice(None), *[slice(b, b + n + 2 * m) for b, n, m in zip(begin, shape, margin, strict=True)])
    found = kind.compute(codes[part], ids[part], voxel_size)
    inner = (slice(None), *[slice(b, b + n) for b, n in zip(begin, shape, strict=True)])
    assert found.shape[1:] == tuple(shape)
    np.testing.assert_array_equal(found, whole[inner])


SURFACES = [kind for kind in KINDS if isinstance(kind, SignedDistanceTarget | BoundaryTarget)]
REACHING = [(kind, axis) for kind in SURFACES for axis in range(3) if kind.margin(ANISOTROPIC)[axis]]


@pytest.mark.parametrize(("kind", "axis"), REACHING)
def test_the_margin_is_no_larger_than_it_must_be(kind, axis):
    margin = kind.margin(ANISOTROPIC)
    empty = np.zeros((1, *[2 * m + 1 for m in margin]), dtype=np.uint8)
    touched = empty.copy()
    touched[0][tuple(0 if other == axis else m for other, m in enumerate(margin))] = 1
    (before,), (after,) = (kind.compute(codes, None, ANISOTROPIC).ravel() for codes in (empty, touched))
    assert before != after


@pytest.mark.parametrize("kind", [KINDS[2], KINDS[4]], ids=str)
def test_in_plane_targets_look_at_no_other_plane(kind):
    rng = np.random.default_rng(0)
    margin = kind.margin((8, 4, 4))
    assert margin[0] == 0
    codes = random_objects(rng, [5, *[2 * m + 8 for m in margin[1:]]], unknown=0.01)[0]
    codes = np.where(np.arange(5)[:, None, None] == 3, 0, codes).astype(np.uint8)
    whole = kind.compute(codes[None], None, (8, 4, 4))
    for z in range(5):
        np.testing.assert_array_equal(kind.compute(codes[None, z : z + 1], None, (8, 4, 4))[0, 0], whole[0, z])
    assert np.unique(whole[0, 3]).size == 1  # an empty plane stays empty between full ones
    assert np.unique(whole[0, 2][np.isfinite(whole[0, 2])]).size > 1


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_class_that_nobody_annotated_is_unknown_and_does_not_touch_the_others(kind):
    rng = np.random.default_rng(3)
    margin = kind.margin((8, 8, 8))
    known = random_objects(rng, [2 * m + 4 for m in margin])[0]
    codes = np.stack([known, np.full_like(known, UNKNOWN)])
    found = kind.compute(codes, None, (8, 8, 8))
    channels = len(found) // 2
    np.testing.assert_array_equal(found[:channels], kind.compute(codes[:1], None, (8, 8, 8)))
    assert np.isfinite(found[:channels]).all()
    assert np.isnan(found[channels:]).all()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_inside_of_what_is_unknown_is_unknown_as_well(kind):
    rng = np.random.default_rng(4)
    margin = kind.margin((8, 8, 8))
    codes, ids = random_objects(rng, [30 + 2 * m for m in margin])
    codes[:, :, margin[2] + 5 :] = UNKNOWN
    found = kind.compute(codes[None], ids[None], (8, 8, 8))
    assert np.isnan(found[..., 5:]).all()
    assert np.isfinite(found[..., :2]).any()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_inputs_may_be_read_only_views_and_stay_as_they_are(kind):
    rng = np.random.default_rng(1)
    margin = kind.margin((8, 8, 8))
    codes, ids = (values[None] for values in random_objects(rng, [2 * m + 5 for m in margin], unknown=0.02))
    expected = kind.compute(codes, ids, (8, 8, 8))
    views = [np.asfortranarray(values)[:, :, :, :] for values in (codes, ids)]
    copies = [view.copy() for view in views]
    for view in views:
        view.setflags(write=False)
    np.testing.assert_array_equal(kind.compute(*views, (8, 8, 8)), expected)
    for view, copy in zip(views, copies, strict=True):
        np.testing.assert_array_equal(view, copy)


def test_several_targets_share_a_grid_and_write_where_they_are_told():
    targets = parse_targets(
        {
            "output": "binary",
            "distance": {"kind": "signed_distance", "scale_nm": 9},
            "edges": {"kind": "boundaries", "width_nm": 8},
            "pairs": LONG,
        }
    )
    margin = common_margin(targets, (8, 4, 4))
    assert margin == tuple(np.max([target.margin((8, 4, 4)) for target in targets.values()], axis=0))
    codes, ids = random_objects(np.random.default_rng(5), [2 * m + 6 for m in margin], unknown=0.01)
    codes, ids = codes[None], ids[None]
    inner = box(codes.shape[1:], margin)
    made = compute_targets(targets, codes, ids, (8, 4, 4))
    assert list(made) == ["output", "distance", "edges", "pairs"]
    expected = np.where(codes == UNKNOWN, np.nan, codes).astype(np.float32)[(slice(None), *inner)]
    np.testing.assert_array_equal(made["output"], expected)
    for name, target in targets.items():
        grown = tuple(slice(s.start - m, s.stop + m) for s, m in zip(inner, target.margin((8, 4, 4)), strict=True))
        part = (slice(None), *grown)
        np.testing.assert_array_equal(made[name], target.compute(codes[part], ids[part], (8, 4, 4)))
        assert made[name].shape == (len(target.channel_names(["er"])), 6, 6, 6)
        assert made[name].dtype == np.float32
    batch = {name: np.full((2, *values.shape), -7, dtype=np.float32) for name, values in made.items()}
    compute_targets(targets, codes, ids, (8, 4, 4), out={name: values[1] for name, values in batch.items()})
    for name, values in made.items():
        np.testing.assert_array_equal(batch[name][1], values)
        assert (batch[name][0] == -7).all()


def test_channel_names_follow_the_channels():
    assert BinaryTarget().channel_names(["er", "nuc"]) == ("er", "nuc")
    assert SignedDistanceTarget().channel_names(["er"]) == ("er_distance",)
    assert BoundaryTarget().channel_names(["er"]) == ("er_boundary",)
    assert AffinityTarget(offsets=[(-1, 0, 0), (0, 0, 9)]).channel_names(["er", "nuc"]) == (
        "er_affinity_-1_0_0",
        "er_affinity_0_0_9",
        "nuc_affinity_-1_0_0",
        "nuc_affinity_0_0_9",
    )


def test_every_form_of_an_experiment_file_is_understood():
    assert parse_targets(None) == parse_targets("binary") == parse_targets({"output": "binary"})
    assert parse_targets({"kind": "signed_distance"}) == {"output": SignedDistanceTarget(scale_nm=50.0)}
    assert parse_targets({"a": {"kind": "affinities", "offsets": [[0, 0, -1]]}})["a"].offsets == ((0, 0, -1),)
    assert parse_targets(LONG) == {"output": LONG}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_kind_survives_plain_values_and_pickling(kind):
    assert parse_targets(kind.to_plain()) == {"output": kind}
    assert pickle.loads(pickle.dumps(kind)) == kind


def test_all_mistakes_are_reported_together_with_the_nearest_names():
    wrong = {
        "a": "signed_distanse",
        "b": {"kind": "signed_distance", "scale": 50, "in_plane": "yes"},
        "c": {"kind": "boundaries", "width_nm": 0},
        "d": {"kind": "affinities", "offsets": [[0, 0, 0], [0, 0, 1], [0, 0, 1]]},
        "input": "binary",
        "e": 5,
        "f": {"offsets": []},
    }
    with pytest.raises(ProblemsError) as caught:
        parse_targets(wrong)
    problems = {problem.where: str(problem) for problem in caught.value.problems}
    assert set(problems) == {"a", "b.scale", "b.in_plane", "c.width_nm", "d.offsets", "input", "e", "f"}
    assert "did you mean signed_distance?" in problems["a"]
    assert "did you mean scale_nm?" in problems["b.scale"]
    assert len(caught.value.problems) == 9
    for value in ({}, 3, [LONG]):
        with pytest.raises(ProblemsError, match="expected a mapping"):
            parse_targets(value)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (SignedDistanceTarget, {"scale_nm": -1}),
        (SignedDistanceTarget, {"scale_nm": float("nan")}),
        (SignedDistanceTarget, {"scale_nm": "50"}),
        (BoundaryTarget, {"width_nm": float("inf")}),
        (AffinityTarget, {"offsets": []}),
        (AffinityTarget, {"offsets": [(0, 0, 0.5)]}),
        (AffinityTarget, {"offsets": [(0, 1)]}),
    ],
)
def test_a_kind_checks_itself(kind, options):
    with pytest.raises(ProblemsError, match=next(iter(options))):
        kind(**options)


def test_what_does_not_fit_is_refused():
    target = AffinityTarget()
    good = np.zeros((1, 3, 3, 3), dtype=np.uint8)
    with pytest.raises(InvalidArgumentError, match="uint8"):
        target.compute(good.astype(np.float32), None, (8, 8, 8))
    with pytest.raises(InvalidArgumentError, match="ids must have the shape"):
        target.compute(good, np.zeros((3, 3, 3), dtype=int), (8, 8, 8))
    with pytest.raises(InvalidArgumentError, match=r"margin of \(1, 1, 1\)"):
        target.compute(good[:, 1:], None, (8, 8, 8))
    with pytest.raises(InvalidArgumentError, match="out must be float32"):
        target.compute(good, None, (8, 8, 8), out=np.empty((1, 1, 1, 1), dtype=np.float32))
    with pytest.raises(InvalidArgumentError, match=r"margin of \(1, 1, 1\)"):
        compute_targets({"a": target}, good[:, :, 1:], None, (8, 8, 8))
    with pytest.raises(InvalidArgumentError, match="half a voxel"):
        BoundaryTarget(width_nm=3).margin((8, 8, 8))
