import dataclasses
import json
import shutil

import numpy as np
import pytest

from csc_data.challenge import get_class, get_class_relations, get_tested_classes, label_classes
from csc_data.challenge.classes.table import UnknownClassError
from csc_data.errors import ExistingOutputError, InvalidArgumentError, ProblemsError
from csc_data.storage.room import DiskFullError
from csc_data.synthetic.microscopes import MICROSCOPES
from csc_data.synthetic.specimen.drawing import choose_origin
from csc_data.synthetic.streaming import SpecimenVolume, draw_tissue, write_volume
from csc_data.volumes import open_volume

SEED = 1
FIELDS = ("raw", "atoms", "objects", "cells")


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    return SpecimenVolume(root=tmp_path_factory.mktemp("data"), shape=(32, 48, 40), seed=SEED)


@pytest.fixture(scope="module")
def tissue(volume):
    return draw_tissue(volume, (0, 0, 0), volume.shape)


@pytest.fixture(scope="module")
def written(volume, tissue):
    assert write_volume(volume)
    return volume


@pytest.mark.parametrize(
    ("begin", "shape"), [((0, 0, 0), (8, 48, 40)), ((9, 21, 3), (11, 7, 33)), ((31, 47, 39), (1, 1, 1))]
)
def test_a_box_is_the_same_whatever_block_it_is_made_in(volume, tissue, begin, shape):
    part = draw_tissue(volume, begin, shape)
    box = tuple(slice(b, b + n) for b, n in zip(begin, shape, strict=True))
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(part, name), getattr(tissue, name)[box], err_msg=name)


@pytest.mark.parametrize("microscope", sorted(set(MICROSCOPES) - {"enhanced-fibsem"}))
def test_images_do_not_depend_on_blocks_with_any_microscope(volume, microscope):
    other = dataclasses.replace(volume, microscope=microscope, voxel_size=(12.0, 5.0, 6.0))
    whole, part = draw_tissue(other, (0, 0, 0), (8, 16, 16)), draw_tissue(other, (3, 5, 2), (4, 6, 9))
    np.testing.assert_array_equal(part.raw, whole.raw[3:7, 5:11, 2:11])


def test_another_seed_is_another_place_of_another_specimen(volume):
    assert choose_origin(SEED, volume.shape, volume.voxel_size) != choose_origin(
        SEED + 1, volume.shape, volume.voxel_size
    )


def test_what_is_written_is_what_is_drawn(written, tissue):
    raw = open_volume(written.raw)
    np.testing.assert_array_equal(raw.levels[0].array[...], tissue.raw)
    for crop in written.crops:
        for name in ("er", "nuc", "cyto", "cell"):
            stored = open_volume(written.crop_folder(crop.index) / name).levels[0]
            assert stored.grid == written.grid.window(crop.begin, crop.shape)
            np.testing.assert_array_equal(stored.array[...], tissue.label(name)[crop.write], err_msg=name)


def test_every_tested_class_is_annotated_in_every_crop_with_its_counts(written):
    assert len(written.crops) == 2
    for crop in written.crops:
        folder = written.crop_folder(crop.index)
        assert set(get_tested_classes()) | {"all"} == {place.name for place in folder.iterdir() if place.is_dir()}
        about = json.loads((folder / "er" / "s0" / ".zattrs").read_text())["cellmap"]["annotation"]
        labels = open_volume(folder / "er").levels[0].array[...]
        assert about["complement_counts"]["absent"] == np.count_nonzero(labels == 0) < labels.size


def test_groups_are_their_parts_and_what_excludes_each_other_is_apart(tissue):
    names = tissue.class_names()
    masks = {name: tissue.mask(name) for name in names}
    for name in names:
        parts = [other for other in names if get_class(other).id in get_class(name).parts]
        if parts:
            np.testing.assert_array_equal(masks[name], np.any([masks[part] for part in parts], axis=0), err_msg=name)
    for name, others in get_class_relations(names).items():
        assert not any((masks[name] & masks[other]).any() for other in others)
    np.testing.assert_array_equal(masks["cell"], tissue.cells > 0)
    atomic = [entry.id for entry in label_classes().values() if not entry.parts]
    assert np.isin(tissue.atoms, atomic).all()


def test_a_small_volume_shows_a_part_of_a_nucleus(tissue):
    assert 0.02 < tissue.mask("nuc").mean() < 0.98
    assert len(np.unique(tissue.instances("nuc"))) == 2


def test_ribosomes_are_cytosol_unless_they_are_asked_for(volume, tissue):
    begin, shape = (0, 0, 0), volume.shape
    labelled = draw_tissue(dataclasses.replace(volume, classes=("ribo", "cyto")), begin, shape)
    ribosomes = labelled.mask("ribo")
    here = tissue
    assert ribosomes.sum() > 5
    assert here.mask("cyto")[ribosomes].all()
    assert not here.mask("ribo").any()
    np.testing.assert_array_equal(labelled.raw, here.raw)
    assert here.raw[ribosomes].mean() < here.raw[here.mask("cyto") & ~ribosomes].mean() - 5


def test_a_killed_run_goes_on_and_gives_the_same_bytes(written, tmp_path, monkeypatch):
    volume = dataclasses.replace(written, root=tmp_path)
    done = []

    class Kill(Exception):
        pass

    def stop(finished, total):
        done.append(finished)
        if finished == 1:
            raise Kill

    with pytest.raises(Kill):
        write_volume(volume, progress=stop)
    done.clear()
    assert write_volume(volume, progress=lambda finished, total: done.append(finished))
    assert done[0] == 1
    assert not write_volume(volume)
    files = [file.relative_to(written.folder) for file in written.folder.rglob("*") if file.is_file()]
    stored = [file for file in files if not file.name.startswith(".") and file.suffix != ".json"]
    assert len(stored) > 20
    assert all((volume.folder / file).read_bytes() == (written.folder / file).read_bytes() for file in stored)


def test_a_volume_of_other_settings_or_other_data_is_not_gone_on_with(written, tmp_path):
    with pytest.raises(ExistingOutputError):
        write_volume(dataclasses.replace(written, seed=SEED + 1))
    with pytest.raises(ExistingOutputError, match="holds output"):
        write_volume(written, existing="refuse")
    volume = dataclasses.replace(written, root=tmp_path)
    volume.folder.mkdir()
    (volume.folder / "mine.txt").write_text("mine")
    with pytest.raises(ExistingOutputError, match="holds other data"):
        write_volume(volume)


def test_a_full_disk_is_told_before_anything_is_written(volume, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    other = dataclasses.replace(volume, root=tmp_path / "new")
    with pytest.raises(DiskFullError):
        write_volume(other)
    assert not other.root.exists()


def test_what_cannot_be_is_told_at_once(tmp_path):
    with pytest.raises(ProblemsError) as caught:
        SpecimenVolume(root=tmp_path, shape=(8, 64, 64), voxel_size=(0.1, 8, 8), seed=-1, dataset="a/b")
    assert all(word in str(caught.value) for word in ("shape", "voxel_size", "seed", "dataset"))
    with pytest.raises(InvalidArgumentError, match="enhanced-fibsem"):
        SpecimenVolume(root=tmp_path, shape=(64, 64, 64), microscope="enhanced-fibsm")
    with pytest.raises(UnknownClassError):
        SpecimenVolume(root=tmp_path, shape=(64, 64, 64), classes=("mitoo",))
