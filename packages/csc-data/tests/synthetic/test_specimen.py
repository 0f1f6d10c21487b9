import numpy as np
import pytest

from csc_data.challenge import get_tested_classes, label_classes
from csc_data.synthetic.microscopes import MICROSCOPES, get_microscope
from csc_data.synthetic.specimen.boxes import Box
from csc_data.synthetic.specimen.cells import Cells, nucleus_depth_at
from csc_data.synthetic.specimen.drawing import Specimen, choose_origin
from csc_data.synthetic.specimen.kinds import KINDS
from csc_data.synthetic.specimen.noise import SmoothNoise, hash_places, normal
from csc_data.synthetic.specimen.nucleus import pore_places

VOXEL = (16.0, 16.0, 16.0)


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return Specimen(
        seed=1, shape=(256, 256, 256), voxel_size=VOXEL, origin=choose_origin(1, (256,) * 3, VOXEL), ribosomes=True
    )


@pytest.fixture(scope="module")
def organelles(specimen):
    return list(specimen._parts[1].within(specimen.box))


def test_noise_is_smooth_and_the_same_on_a_box_and_at_its_points():
    noise = SmoothNoise(5, 100.0)
    axes = (np.arange(0.0, 3000.0, 23.0),) * 3
    values = noise.on(axes)
    assert (float(values.mean()), float(values.std())) == (pytest.approx(0, abs=0.1), pytest.approx(1, abs=0.08))
    places = np.array([[z, y, x] for z in (0, 7, 90) for y in (3, 55) for x in (1, 129)])
    points = np.stack([axes[number][places[:, number]] for number in range(3)], axis=1)
    np.testing.assert_allclose(noise.at(points), values[tuple(places.T)], atol=2e-6)
    fine = np.arange(0.0, 500.0)
    line, slope = (noise.on((np.array([41.0]), np.array([88.0]), fine), axis).ravel() for axis in (None, 2))
    np.testing.assert_allclose(np.diff(line), (slope[1:] + slope[:-1]) / 2, atol=2e-5)


def test_noise_of_a_voxel_belongs_to_its_place():
    whole = hash_places(3, np.arange(-4, 9), np.arange(6), np.arange(50, 70))
    np.testing.assert_array_equal(
        whole[2:5, 1:4, 6:9], hash_places(3, np.arange(-2, 1), np.arange(1, 4), np.arange(56, 59))
    )
    values = normal(hash_places(9, np.arange(64), np.arange(64), np.arange(64)))
    assert (float(values.mean()), float(values.std())) == (pytest.approx(0, abs=0.01), pytest.approx(1, abs=0.01))


def test_nuclei_are_5_to_10_um_wide_inside_of_their_cells():
    cells = Cells(4)
    for index in np.ndindex(3, 3, 2):
        cell = cells.cell(index)
        assert (cell.axes >= 2450.0).all()
        assert (cell.axes <= 5000.0).all()
        directions = np.random.default_rng(0).standard_normal((60, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        surface = cell.centre + directions * cell.axes
        assert np.abs(nucleus_depth_at(cell, surface)).max() < 600.0
        owner, depth, near = cells.owner_at(surface)
        assert all(near[number].index == index for number in owner)
        assert depth.min() > 0


def test_organelles_of_all_kinds_keep_apart(organelles):
    assert {organelle.kind for organelle in organelles} == {kind.name for kind in KINDS}
    points = np.concatenate([organelle.path for organelle in organelles])
    owner = np.repeat(np.arange(len(organelles)), [len(organelle.path) for organelle in organelles])
    radii = np.array([organelle.radius for organelle in organelles])[owner]
    for number, organelle in enumerate(organelles):
        for point in organelle.path:
            apart = np.sqrt(((points - point) ** 2).sum(1)) - radii - organelle.radius
            assert apart[owner != number].min() > 0
    ids = [organelle.number for organelle in organelles]
    assert len(set(ids)) == len(ids)


def test_cells_of_4_um_have_every_tested_class(specimen, organelles):
    """Small boxes around one organelle of each kind, and at the borders of the cell and its nucleus, hold them all."""
    seen: set[int] = set()
    places = {organelle.kind: organelle.centre for organelle in organelles}
    cell = specimen._parts[0].cell((0, 0, 0))
    line = cell.centrosome + cell.pole * np.linspace(0, 6000, 601)[:, None]
    places["border"] = line[int(np.argmax(specimen._parts[0].owner_at(line)[1] < 0))]
    places["pore"] = pore_places(cell)[0]
    for place in places.values():
        # Finer than the volume, as microtubules, pores and cristae are thin.
        fine = Specimen(
            seed=1, shape=(64, 64, 64), voxel_size=(8.0, 8.0, 8.0), origin=tuple(place - 256.0), ribosomes=False
        )
        box = Box(begin=(16, 0, 0), shape=(24, 64, 64), voxel_size=fine.voxel_size, origin=fine.origin)
        seen |= set(np.unique(fine.draw(box).atoms).tolist())
    missing = [name for name in get_tested_classes() if not label_classes()[name].atoms & seen]
    assert not missing


@pytest.mark.parametrize("name", sorted(MICROSCOPES))
def test_grey_values_are_those_that_the_microscope_has(specimen, name):
    scope = get_microscope(name)
    box = Box(begin=(96, 96, 96), shape=(8, 72, 72), voxel_size=(8.0, 8.0, 8.0), origin=specimen.origin)
    grown = box.grown([a + b for a, b in zip(scope.margin(box), specimen.margin, strict=True)])
    inner = tuple(slice(m, -m) for m in specimen.margin)
    fine = Specimen(seed=1, shape=(256, 256, 256), voxel_size=(8.0, 8.0, 8.0), origin=specimen.origin)
    image = scope.image(fine.draw(grown.grown([1, 1, 1])).grey[1:-1, 1:-1, 1:-1][inner], box, 3).astype(float)
    image = image[image.max(axis=(1, 2)) > 0]
    assert abs(image.mean() - scope.mean) < 2.5 * (scope.contrast + scope.flicker)
    assert 0.4 * scope.contrast < image.std() < 2 * (scope.contrast + scope.noise + scope.curtains + scope.charging)
    if name == "enhanced-fibsem":  # shown between 18000 and 32000 of 65535: 70 and 125 of 255
        assert np.percentile(image, 1) > 60
        assert np.percentile(image, 99) < 130


def test_missing_and_repeated_slices_and_curtains_are_seen():
    scope = get_microscope("fibsem")
    lossy = type(scope)(**{**{f: getattr(scope, f) for f in scope.__slots__}, "missing": 0.2, "repeated": 0.2})
    box = Box(begin=(0, 0, 0), shape=(60, 24, 24), voxel_size=VOXEL, origin=(0.0, 0.0, 0.0))
    margin = lossy.margin(box)
    grey = np.full([n + 2 * m for n, m in zip(box.shape, margin, strict=True)], 150.0, np.float32)
    image = lossy.image(grey, box, 5)
    black = (image == 0).all(axis=(1, 2))
    again = [bool((image[z] == image[z - 1]).all()) and not black[z] for z in range(1, 60)]
    assert 4 < black.sum() < 22
    assert 3 < sum(again) < 22
    bare = type(scope)(
        **{**{f: getattr(scope, f) for f in scope.__slots__}, "noise": 0.0, "charging": 0.0, "uneven": 0.0}
    )
    stripes = bare.image(grey, box, 5)[2].astype(float)
    assert stripes.std(axis=1).mean() > 2 * stripes.std(axis=0).mean()
