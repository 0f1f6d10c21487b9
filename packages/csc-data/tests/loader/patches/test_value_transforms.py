# ruff: noqa: NPY002  # the global random state is what is tested
import pickle
import random
import re

import numpy as np
import pytest

from csc_data.errors import InvalidArgumentError, ProblemsError
from csc_data.loader.patches.value_transforms import ValueTransforms, find_unstored_change

torch = pytest.importorskip("torch")
cellmap_data = pytest.importorskip("cellmap_data")
T = pytest.importorskip("torchvision.transforms.v2")

from cellmap_data.transforms.augment import (  # noqa: E402
    Binarize,
    GaussianBlur,
    GaussianNoise,
    NaNtoNum,
    RandomContrast,
    RandomGamma,
)

OFFICIAL_RAW = T.Compose(
    [T.ToDtype(torch.float, scale=True), NaNtoNum({"nan": 0, "posinf": None, "neginf": None})],
)
OFFICIAL_TARGET = T.Compose([T.ToDtype(torch.float), Binarize()])
CLASSES = ("mito", "er", "nuc")
SHAPES = [(1, 6, 5, 4), (1, 5, 4)]


def make_sample(shape, seed=0):
    rng = np.random.default_rng(seed)
    raw = rng.random(shape, dtype=np.float32)
    target = rng.integers(0, 2, (len(CLASSES), *shape[1:])).astype(np.float32)
    target[rng.random(target.shape) < 0.3] = np.nan
    target[2] = np.nan  # nobody annotated nuc here
    return raw, target


def apply(transforms, raw, target, seed=1):
    raw, target = raw.copy(), target.copy()
    transforms.apply([raw], [target], CLASSES, np.random.default_rng(seed))
    return raw, target


def create(raw=None, target=None):
    return ValueTransforms(classes=CLASSES, raw=raw, target=target)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_transforms_of_the_official_toolbox_leave_our_samples_as_they_are(shape):
    raw, target = make_sample(shape)
    new_raw, new_target = apply(create(OFFICIAL_RAW, OFFICIAL_TARGET), raw, target)
    np.testing.assert_array_equal(new_raw, raw)
    np.testing.assert_array_equal(new_target, target)


ANY_SHAPE = [
    GaussianNoise(std=0.1),
    RandomContrast((0.2, 0.5)),
    RandomGamma((0.4, 0.6)),
    T.Normalize(mean=[0.5], std=[0.25]),
    T.GaussianBlur(3),
    T.RandomErasing(p=1.0),
    T.Compose([T.ToDtype(torch.uint8, scale=True), T.ToDtype(torch.float, scale=True), GaussianNoise()]),
]


@pytest.mark.parametrize(
    ("transform", "shape"),
    [
        *((transform, shape) for transform in ANY_SHAPE for shape in SHAPES),
        (GaussianBlur(kernel_size=3, sigma=1.0, dim=3, channels=1), SHAPES[0]),
        (GaussianBlur(kernel_size=3, sigma=1.0, dim=2, channels=1), SHAPES[1]),
    ],
    ids=lambda value: type(value).__name__ if callable(value) else f"{len(value) - 1}D",
)
def test_raw_transforms_get_the_tensors_that_cellmap_data_gives_them(transform, shape):
    raw, target = make_sample(shape)
    new_raw, new_target = apply(create(transform), raw, target)
    given = torch.from_numpy(raw[0] if raw.ndim == 4 else raw)
    torch.manual_seed(int(np.random.default_rng(1).integers(2**63)))
    with torch.no_grad():
        expected = transform(given.clone())
    np.testing.assert_allclose(new_raw.reshape(expected.shape), expected.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(new_target, target)
    if not (len(shape) == 3 and isinstance(transform, RandomContrast)):  # about the mean of planes; there is one
        assert not np.allclose(new_raw, raw)


@pytest.mark.parametrize("shape", SHAPES)
def test_target_transforms_see_one_class_at_a_time_and_only_known_ones(shape):
    raw, target = make_sample(shape)
    seen = []

    def double(values):
        seen.append(tuple(values.shape))
        return values * 2

    new_raw, new_target = apply(create(target=double), raw, target)
    assert seen == [(*shape[1:],) if len(shape) == 4 else shape] * 2
    np.testing.assert_array_equal(new_target, target * 2)
    np.testing.assert_array_equal(new_raw, raw)
    _, only_er = apply(create(target={"er": double}), raw, target)
    np.testing.assert_array_equal(only_er[1], target[1] * 2)
    np.testing.assert_array_equal(only_er[[0, 2]], target[[0, 2]])


@pytest.mark.parametrize(
    "transform", [NaNtoNum({"nan": 0}), lambda values: (values > 0.5).float(), lambda values: values.fill_(1)]
)
def test_what_is_unknown_stays_unknown(transform):
    raw, target = make_sample(SHAPES[0])
    _, changed = apply(create(target=transform), raw, target)
    np.testing.assert_array_equal(np.isnan(changed), np.isnan(target))


@pytest.mark.parametrize(
    "transform",
    [
        lambda values: values.mul_(3),  # in place
        lambda values: (values * 3).double(),
        lambda values: (values * 3).half(),
        lambda values: torch.nn.Parameter(values * 3),
        torch.nn.Sequential(torch.nn.Identity(), torch.nn.LeakyReLU(0.5)),
        lambda values: values.transpose(1, 2),
        lambda values: values > 0.5,
    ],
    ids=["in place", "double", "half", "gradient", "module", "view", "bool"],
)
def test_results_of_any_kind_of_real_number_are_taken(transform):
    raw, target = make_sample((1, 5, 4, 4))
    expected = transform(torch.from_numpy(raw[0].copy())).detach().float().numpy()
    np.testing.assert_array_equal(apply(create(transform), raw, target)[0][0], expected)


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (lambda values: values[None], r"made \(1, 6, 5, 4\) of torch.float32 from \(6, 5, 4\)"),
        (lambda values: values[:, 1:], r"made \(6, 4, 4\)"),
        (lambda values: values.numpy(), "must return a tensor, got ndarray"),
        (lambda values: None, "must return a tensor, got NoneType"),
        (lambda values: values + 1j, "complex64"),
    ],
)
def test_results_that_do_not_fit_name_the_transform_and_the_shapes(transform, words):
    raw, target = make_sample(SHAPES[0])
    with pytest.raises(InvalidArgumentError, match=rf"raw_value_transforms: <lambda>.*{words}"):
        apply(create(transform), raw, target)
    with pytest.raises(InvalidArgumentError, match=rf"target_value_transforms of mito: <lambda>.*{words}"):
        apply(create(target=transform), raw, target)


def test_what_cannot_be_a_transform_is_told_all_at_once():
    with pytest.raises(ProblemsError) as caught:
        create(3, {"mitoo": Binarize(), "er": "Binarize"})
    text = str(caught.value)
    assert "3 problems" in text
    assert "did you mean mito?" in text
    assert "raw: expected something to call, got 3" in text
    assert "target.er: expected something to call, got 'Binarize'" in text


def test_a_sample_depends_on_its_seed_and_the_global_random_states_are_left_alone():
    def mix(values):
        return values + torch.rand(1) + float(np.random.random()) + random.random()

    raw, target = make_sample(SHAPES[0])
    transforms = create(mix)
    first = apply(transforms, raw, target, seed=1)[0]
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    np.testing.assert_array_equal(apply(transforms, raw, target, seed=1)[0], first)
    assert not np.array_equal(apply(transforms, raw, target, seed=2)[0], first)
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]
    with pytest.raises(ZeroDivisionError):
        apply(create(lambda values: torch.rand(1) / (1 // 0)), raw, target)
    assert torch.equal(torch.get_rng_state(), states[0])


def test_no_transforms_draw_nothing_and_need_no_torch():
    rng, other = np.random.default_rng(3), np.random.default_rng(3)
    assert not create()
    create().apply([], [], CLASSES, rng)
    assert rng.random() == other.random()


def test_they_reach_worker_processes():
    raw, target = make_sample(SHAPES[0])
    transforms = create(GaussianNoise(), OFFICIAL_TARGET)
    copy = pickle.loads(pickle.dumps(transforms))
    np.testing.assert_array_equal(apply(copy, raw, target)[0], apply(transforms, raw, target)[0])


STANDARDISE = T.Lambda(lambda values: (values - values.mean()) / values.std())


@pytest.mark.parametrize(
    ("transform", "raw_range", "may_be_random", "words"),
    [
        (OFFICIAL_RAW, (0, 1), False, None),
        (OFFICIAL_RAW, (0, 255), False, None),
        (T.Normalize(mean=[0.5], std=[0.5]), (0, 1), True, r"raw_range = \(-1, 1\)"),
        (T.Normalize(mean=[127.5], std=[51]), (0, 255), False, r"raw_range = \(-2.5, 2.5\)"),
        (T.Lambda(lambda values: values * 255), (0, 1), False, r"raw_range = \(0, 255\)"),
        (T.Lambda(lambda values: 1 - values), (0, 1), True, "in the same way each time"),
        (T.Lambda(lambda values: values**2), (0, 1), False, "in the same way each time"),
        (STANDARDISE, (0, 1), True, "in the same way each time"),
        (GaussianNoise(), (0, 1), True, None),
        (GaussianNoise(), (0, 1), False, "at random"),
        (RandomGamma(), (0, 1), True, None),
        (RandomContrast(), (0, 1), False, "at random"),
    ],
)
def test_a_change_of_raw_that_prediction_would_not_repeat_is_found(transform, raw_range, may_be_random, words):
    found = find_unstored_change(transform, raw_range, where="val_raw_value_transforms", may_be_random=may_be_random)
    if words is None:
        assert found is None
    else:
        assert found is not None
        assert found.where == "val_raw_value_transforms"
        assert re.search(words, str(found)), str(found)
