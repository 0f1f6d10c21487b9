import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from csc_data.errors import ProblemsError
from csc_data.loader.intensity import (
    Blur,
    Brightness,
    Contrast,
    Gamma,
    GaussianNoise,
    IntensityTransforms,
    LowResolution,
    MissingSections,
    PoissonNoise,
    ShiftedSections,
)

VOXEL = (8.0, 8.0, 8.0)
ANISOTROPIC = (20.0, 5.0, 8.0)
KINDS = [
    Gamma,
    Contrast,
    Brightness,
    ShiftedSections,
    Blur,
    LowResolution,
    PoissonNoise,
    GaussianNoise,
    MissingSections,
]
STACKED = (ShiftedSections, MissingSections)  # what needs several planes


def fixed(number):
    return (number, number)


def random_raw(shape, seed=0, low=0.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(12, 20, 17), (1, 20, 17), (5, 1, 1), (1, 1, 1), (2, 3, 40)])
def test_every_transform_keeps_to_the_contract(kind, shape):
    transform = kind(probability=1)
    raw = random_raw(shape)
    for seed in range(5):
        found = transform.apply(raw.copy(), generator(seed), ANISOTROPIC)
        assert found.shape == shape
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        assert 0 <= found.min() <= found.max() <= 1
        np.testing.assert_array_equal(found, transform.apply(raw.copy(), generator(seed), ANISOTROPIC))
    turned = transform.apply(np.asfortranarray(raw), generator(4), ANISOTROPIC)
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(turned, found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flat", [False, True])
def test_every_transform_changes_something_but_needs_planes_for_sections(kind, flat):
    raw = random_raw((1 if flat else 12, 20, 17))
    found = kind(probability=1).apply(raw.copy(), generator(), (4, 4, 4))
    assert np.array_equal(found, raw) == (flat and kind in STACKED)


@pytest.mark.parametrize("kind", KINDS)
def test_a_probability_is_how_often_a_transform_comes_about(kind):
    raw = random_raw((6, 6, 6))
    rng = generator()
    np.testing.assert_array_equal(kind(probability=0).apply(raw.copy(), rng, (4, 4, 4)), raw)
    draws = 1000
    chance = kind(probability=0.25)
    changed = sum(not np.array_equal(chance.apply(raw.copy(), rng, (4, 4, 4)), raw) for _ in range(draws))
    assert abs(changed - 250) < 5 * np.sqrt(draws * 0.25 * 0.75)
    transforms = IntensityTransforms(transforms=(chance,))
    drawn = [transforms.draw(rng) for _ in range(draws)]
    changed = sum(bool(one.rest) or not one.curve.is_identity for one in drawn)
    assert abs(changed - 250) < 5 * np.sqrt(draws * 0.25 * 0.75)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.2])
def test_gamma_is_a_power_that_keeps_black_white_and_order(exponent):
    raw = np.linspace(0, 1, 1001, dtype=np.float32).reshape(1, 7, 143)
    found = Gamma(range=fixed(exponent), probability=1).apply(raw.copy(), generator(), VOXEL)
    np.testing.assert_allclose(found, raw.astype(float) ** exponent, atol=1e-6)
    assert found.flat[0] == 0
    assert found.flat[-1] == 1
    assert (np.diff(found.ravel()) > 0).all()


def test_exponents_are_drawn_evenly_on_a_logarithmic_scale():
    rng = generator()
    drawn = np.array([Gamma(range=(0.5, 2.0)).draw_exponent(rng) for _ in range(2000)])
    assert 0.5 <= drawn.min() < 0.52
    assert 1.95 < drawn.max() <= 2
    assert abs((drawn < 1).sum() - 1000) < 5 * np.sqrt(500)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.4])
def test_contrast_keeps_the_mean_and_multiplies_the_deviation(factor):
    raw = random_raw((10, 20, 20), low=0.3, high=0.6)
    found = Contrast(range=fixed(factor), probability=1).apply(raw.copy(), generator(), VOXEL)
    assert found.mean() == pytest.approx(raw.mean(), abs=1e-6)
    assert found.std() == pytest.approx(factor * raw.std(), abs=1e-6)


def test_brightness_adds_and_clips():
    raw = random_raw((3, 20, 20))
    found = Brightness(range=fixed(0.25), probability=1).apply(raw.copy(), generator(), VOXEL)
    np.testing.assert_allclose(found, np.minimum(raw + 0.25, 1), atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32), flat=st.booleans())
def test_the_table_for_uint8_is_what_raw_from_0_to_1_goes_through(seed, flat):
    rng = np.random.default_rng(seed)
    names = rng.permutation(["gamma", "contrast", "brightness"])[: rng.integers(0, 4)]
    transforms = IntensityTransforms.parse({name: {"probability": 0.8} for name in names})
    drawn = transforms.draw(rng)
    values = rng.integers(0, rng.integers(1, 257), (1 if flat else 4, 9, 11), dtype=np.uint8)
    table = drawn.table(values)
    assert table.dtype == np.float32
    assert table.shape == (256,)
    expected = drawn.apply_curve(values.astype(np.float32) / np.float32(255))
    np.testing.assert_allclose(table[values], expected, atol=2e-6)


def test_pointwise_transforms_compose_in_their_order():
    transforms = IntensityTransforms(
        transforms=(
            Brightness(range=fixed(0.1), probability=1),
            Contrast(range=fixed(0.5), probability=1),
            Gamma(range=fixed(2), probability=1),
        )
    )
    raw = random_raw((4, 8, 8), low=0.2, high=0.8)
    squares = raw.astype(float) ** 2
    expected = (squares - squares.mean()) * 0.5 + squares.mean() + 0.1
    np.testing.assert_allclose(transforms.apply(raw.copy(), generator(), VOXEL), expected, atol=1e-6)


def test_gaussian_noise_has_its_deviation_everywhere_and_no_memory():
    raw = np.full((40, 50, 50), 0.5, dtype=np.float32)
    raw[20:] = 0.3
    noise = GaussianNoise(deviation=fixed(0.05), probability=1).apply(raw.copy(), generator(1), VOXEL) - raw
    for part in (noise[:20], noise[20:]):
        assert abs(part.mean()) < 5 * 0.05 / np.sqrt(part.size)
        assert part.std() == pytest.approx(0.05, rel=0.02)
        assert np.mean(part**4) == pytest.approx(3 * 0.05**4, rel=0.05)  # as a normal distribution has it
    for axis in range(3):
        near = np.moveaxis(noise, axis, 0)
        correlation = np.mean(near[1:] * near[:-1]) / 0.05**2
        assert abs(correlation) < 5 / np.sqrt(noise.size)


def test_poisson_noise_has_the_variance_of_counting():
    levels = np.array([0.0, 0.1, 0.4, 0.7], dtype=np.float32)
    raw = np.repeat(levels, 40000).reshape(4, 200, 200)
    noise = PoissonNoise(counts=fixed(400), probability=1).apply(raw.copy(), generator(2), VOXEL) - raw
    for level, part in zip(levels, noise, strict=True):
        assert part.var() == pytest.approx(level / 400, rel=0.04)
        assert abs(part.mean()) < 5 * np.sqrt(level / 400 / part.size) + 1e-9


@pytest.mark.parametrize("shape", [(9, 30, 41), (1, 30, 41), (3, 2, 70)])
@pytest.mark.parametrize("sigma_nm", [3.0, 11.0])
def test_blur_is_a_gaussian_in_nm(shape, sigma_nm):
    raw = random_raw(shape)
    sigma = [sigma_nm / size if n > 1 else 0 for size, n in zip(ANISOTROPIC, shape, strict=True)]
    expected = ndimage.gaussian_filter(
        raw.astype(float), sigma, mode="reflect", radius=[max(1, int(np.ceil(4 * s))) for s in sigma]
    )
    found = Blur(sigma_nm=fixed(sigma_nm), probability=1).apply(raw.copy(), generator(), ANISOTROPIC)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert found.mean() == pytest.approx(raw.mean(), abs=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_blur_weakens_a_wave_as_theory_says_along_every_axis(axis):
    # exp(-(2 pi sigma / wavelength)^2 / 2); whole half waves between mirrors stay waves.
    shape = [6, 6, 6]
    shape[axis] = 60
    size, sigma_nm = ANISOTROPIC[axis], 13.0
    position = (np.arange(60) + 0.5) * size
    wavelength = 60 * size / 6
    wave = np.cos(2 * np.pi * position / wavelength).reshape([-1 if a == axis else 1 for a in range(3)])
    raw = np.broadcast_to(0.5 + 0.4 * wave, shape).astype(np.float32)
    found = Blur(sigma_nm=fixed(sigma_nm), probability=1).apply(raw.copy(), generator(), ANISOTROPIC)
    factor = np.exp(-0.5 * (2 * np.pi * sigma_nm / wavelength) ** 2)
    np.testing.assert_allclose(found, np.broadcast_to(0.5 + 0.4 * factor * wave, shape), atol=2e-3)


def test_a_blur_far_below_a_voxel_changes_nothing():
    raw = random_raw((4, 5, 6))
    found = Blur(sigma_nm=(0, 0), probability=1).apply(raw.copy(), generator(), VOXEL)
    np.testing.assert_array_equal(found, raw)


@settings(deadline=None, max_examples=30)
@given(factor=st.floats(1.0, 5.0), shape=st.tuples(*[st.integers(16, 40)] * 3))
def test_low_resolution_keeps_what_is_linear_and_what_is_even(factor, shape):
    transform = LowResolution(factor=fixed(factor), probability=1)
    index = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    raw = (0.1 + 0.005 * index[0] + 0.007 * index[1] + 0.003 * index[2]).astype(np.float32)
    found = transform.apply(raw.copy(), generator(), VOXEL)
    edge = int(np.ceil(factor)) + 1
    inner = (slice(edge, -edge),) * 3
    np.testing.assert_allclose(found[inner], raw[inner], atol=1e-5)
    even = np.full(shape, 0.4, dtype=np.float32)
    np.testing.assert_allclose(transform.apply(even.copy(), generator(), VOXEL), even, atol=1e-6)


def test_low_resolution_loses_what_is_finer_along_the_named_axes_only():
    stripes = np.broadcast_to((np.arange(24) % 2).astype(np.float32), (24, 24, 24))
    halved = LowResolution(factor=fixed(2), axes=["z", "y"], probability=1)
    for axis in range(3):
        raw = np.ascontiguousarray(np.moveaxis(stripes, 2, axis))
        found = halved.apply(raw.copy(), generator(), VOXEL)
        if axis == 2:
            np.testing.assert_allclose(found, raw, atol=1e-6)
        else:
            np.testing.assert_allclose(found, 0.5, atol=1e-6)


def test_low_resolution_averages_blocks():
    raw = random_raw((8, 8, 8))
    found = LowResolution(factor=fixed(8), probability=1).apply(raw.copy(), generator(), VOXEL)
    np.testing.assert_allclose(found, raw.mean(), atol=1e-6)
    # Between the centres of two cells it is linear.
    row = random_raw((1, 1, 8))
    found = LowResolution(factor=fixed(4), probability=1).apply(row.copy(), generator(), VOXEL).ravel()
    low, high = row[..., :4].mean(), row[..., 4:].mean()
    expected = np.interp(np.arange(8), [1.5, 5.5], [low, high])
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("axis", ["z", "y", "x"])
@pytest.mark.parametrize("fill", ["black", "white", "repeat"])
def test_missing_sections_are_filled_and_the_others_stay(axis, fill):
    number = "zyx".index(axis)
    raw = random_raw((14, 15, 16), low=0.1, high=0.9)
    counts = set()
    for seed in range(40):
        transform = MissingSections(count=(1, 3), axis=axis, fill=[fill], probability=1)
        found = np.moveaxis(transform.apply(raw.copy(), generator(seed), VOXEL), number, 0)
        before = np.moveaxis(raw, number, 0)
        lost = [i for i, section in enumerate(found) if not np.array_equal(section, before[i])]
        counts.add(len(lost))
        left = [i for i in range(len(found)) if i not in lost]
        for i in lost:
            if fill == "repeat":
                nearest = min(abs(j - i) for j in left)
                near = [before[j] for j in left if abs(j - i) == nearest]
                assert any(np.array_equal(found[i], section) for section in near)
            else:
                assert (found[i] == (fill == "white")).all()
    assert counts == {1, 2, 3}


def test_at_least_one_section_is_left():
    raw = random_raw((3, 4, 4), low=0.1, high=0.9)
    for seed in range(20):
        found = MissingSections(count=(9, 9), probability=1).apply(raw.copy(), generator(seed), VOXEL)
        assert sum(np.array_equal(a, b) for a, b in zip(found, raw, strict=True)) >= 1


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_shifted_sections_are_the_same_image_elsewhere(axis):
    number = "zyx".index(axis)
    sizes = [size for name, size in zip("zyx", ANISOTROPIC, strict=True) if name != axis]
    raw = random_raw((14, 15, 16))
    before = np.moveaxis(raw, number, 0)
    shifts = set()
    for seed in range(60):
        transform = ShiftedSections(count=(2, 2), axis=axis, shift_nm=(0, 40), probability=1)
        found = np.moveaxis(transform.apply(raw.copy(), generator(seed), ANISOTROPIC), number, 0)
        changed = [i for i, section in enumerate(found) if not np.array_equal(section, before[i])]
        assert len(changed) <= 2
        for i in changed:
            padded = np.pad(before[i], 8, mode="edge")
            height, width = before[i].shape
            matches = [
                (u, v)
                for u in range(-8, 9)
                for v in range(-8, 9)
                if np.array_equal(padded[8 - u : 8 - u + height, 8 - v : 8 - v + width], found[i])
            ]
            assert len(matches) == 1
            assert all(abs(n) * size <= 40 + size / 2 for n, size in zip(matches[0], sizes, strict=True))
            shifts.add(matches[0])
    for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        assert any(u * signs[0] > 0 and v * signs[1] > 0 for u, v in shifts)


def test_every_form_of_an_experiment_file_is_understood():
    options = {"missing_sections": {"fill": ["black"]}, "gamma": {"probability": 0.3, "range": [1, 2]}}
    transforms = IntensityTransforms.parse(options)
    gamma, missing = Gamma(probability=0.3, range=(1.0, 2.0)), MissingSections(fill=("black",))
    assert transforms.transforms == (gamma, missing)  # in the order of application
    assert transforms == IntensityTransforms.parse([missing, gamma])
    assert transforms == IntensityTransforms.parse({"gamma": gamma, "missing_sections": missing})
    assert transforms == IntensityTransforms.parse(transforms) == pickle.loads(pickle.dumps(transforms))
    assert IntensityTransforms.parse(gamma).names == ("gamma",)
    assert IntensityTransforms.parse({kind.name: {} for kind in KINDS}).transforms == tuple(kind() for kind in KINDS)
    for nothing in (None, {}, []):
        assert not IntensityTransforms.parse(nothing)


def test_all_mistakes_are_reported_together_with_the_nearest_names():
    wrong = {
        "gama": {},
        "contrast": {"range": (1.2, 0.8), "probabilty": 0.5},
        "blur": {"sigma_nm": -1},
        "brightness": {"probability": 1.5, "range": (-2, 0)},
        "missing_sections": {"axis": "w", "count": (0.5, 1), "fill": ["grey"]},
        "poisson_noise": 0.3,
    }
    with pytest.raises(ProblemsError) as caught:
        IntensityTransforms.parse(wrong)
    problems = {problem.where: str(problem) for problem in caught.value.problems}
    assert set(problems) == {
        "gama",
        "contrast.range",
        "contrast.probabilty",
        "blur.sigma_nm",
        "brightness.probability",
        "brightness.range",
        "missing_sections.axis",
        "missing_sections.count",
        "missing_sections.fill",
        "poisson_noise",
    }
    assert "did you mean gamma?" in problems["gama"]
    assert "did you mean probability?" in problems["contrast.probabilty"]
    assert "the smaller first" in problems["contrast.range"]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Gamma, {"range": (0, 1)}),
        (Gamma, {"probability": float("nan")}),
        (GaussianNoise, {"deviation": (0, float("inf"))}),
        (LowResolution, {"factor": (0.5, 2)}),
        (LowResolution, {"axes": ("z", "w")}),
        (ShiftedSections, {"count": (3, 2)}),
        (MissingSections, {"fill": ()}),
    ],
)
def test_a_transform_checks_itself(kind, options):
    with pytest.raises(ProblemsError, match=next(iter(options))):
        kind(**options)


def test_a_kind_is_given_once_and_is_one_of_ours():
    with pytest.raises(ProblemsError, match="blur: is given 2 times"):
        IntensityTransforms.parse([Blur(), Gamma(), Blur(sigma_nm=(1, 2))])
    with pytest.raises(ProblemsError, match=r"transforms\[1\]: is not an intensity transform"):
        IntensityTransforms.parse([Blur(), np.negative])
    with pytest.raises(ProblemsError, match="expected a mapping"):
        IntensityTransforms.parse("gamma")


ALL = {kind.name: {"probability": 0.5} for kind in KINDS}
POINTWISE = ("gamma", "contrast", "brightness")


def test_the_same_generator_gives_the_same_patch_and_another_another():
    transforms = IntensityTransforms.parse(ALL)
    raw = random_raw((8, 9, 10))
    found = [transforms.apply(raw.copy(), generator(seed), VOXEL) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


@pytest.mark.parametrize("name", list(ALL))
def test_what_a_transform_draws_does_not_depend_on_the_others(name):
    raw = random_raw((8, 9, 10))
    alone, together = IntensityTransforms.parse({name: ALL[name]}), IntensityTransforms.parse(ALL)
    happened = 0
    for seed in range(20):
        rngs = generator(seed), generator(seed)
        one, all_of_them = alone.draw(rngs[0]), together.draw(rngs[1])
        assert rngs[0].random() == rngs[1].random()
        if name in POINTWISE:
            assert getattr(one.curve, name) == getattr(all_of_them.curve, name)
            happened += not one.curve.is_identity
        else:
            theirs = tuple(entry for entry in all_of_them.rest if entry[0].name == name)
            assert one.rest == theirs
            happened += bool(one.rest)
            np.testing.assert_array_equal(one.apply(raw.copy(), VOXEL), one.apply(raw.copy(), VOXEL))
    assert 0 < happened < 20


def test_transforms_come_about_independently_of_each_other():
    transforms = IntensityTransforms.parse({name: {"probability": 0.5} for name in ALL if name not in POINTWISE})
    rng = generator()
    draws = 800
    happened = np.zeros((draws, len(transforms.names)), dtype=bool)
    for number in range(draws):
        for transform, _ in transforms.draw(rng).rest:
            happened[number, transforms.names.index(transform.name)] = True
    together = happened.T.astype(int) @ happened.astype(int)
    expected = np.where(np.eye(len(together)), 0.5, 0.25) * draws
    assert np.abs(together - expected).max() < 5 * np.sqrt(draws * 0.25)


def test_curve_and_rest_together_are_all():
    transforms = IntensityTransforms.parse(ALL)
    raw = random_raw((8, 9, 10))
    for seed in range(10):
        drawn = transforms.draw(generator(seed))
        expected = drawn.apply_rest(drawn.apply_curve(raw.copy()), VOXEL)
        np.testing.assert_array_equal(transforms.apply(raw.copy(), generator(seed), VOXEL), expected)


def test_sections_are_lost_last():
    # Noise on a black section would tell a network that the section was seen.
    transforms = IntensityTransforms.parse(
        [
            MissingSections(fill=("black",), count=(1, 1), probability=1),
            GaussianNoise(deviation=(0.1, 0.1), probability=1),
        ]
    )
    found = transforms.apply(np.full((6, 30, 30), 0.5, dtype=np.float32), generator(), VOXEL)
    assert sum((section == 0).all() for section in found) == 1
