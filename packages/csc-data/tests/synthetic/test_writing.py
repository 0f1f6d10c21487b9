import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from csc_data.challenge import UnknownClassError, get_class, label_classes
from csc_data.challenge.test_crops import read_test_crops
from csc_data.errors import ExistingOutputError, InvalidArgumentError, ProblemsError
from csc_data.formats.reading import open_array
from csc_data.formats.writing import read_attributes
from csc_data.geometry import Grid
from csc_data.synthetic import (
    ChallengePlan,
    SyntheticCrop,
    SyntheticDataset,
    default_plan,
    generate_tissue,
    number_objects,
    write_challenge,
)
from csc_data.volumes import open_volume


def folders(path):
    return {entry.name for entry in path.iterdir() if entry.is_dir()}


def raw_path(root, dataset):
    return root / dataset / f"{dataset}.zarr" / "recon-1" / "em" / "fibsem-uint8"


def crop_path(root, dataset, crop):
    return root / dataset / f"{dataset}.zarr" / "recon-1" / "labels" / "groundtruth" / f"crop{crop}"


def multiscale_groups(root):
    return [file.parent for file in root.rglob(".zattrs") if "multiscales" in json.loads(file.read_text())]


def test_every_multiscale_group_has_the_geometry_of_its_voxels(written):
    groups = multiscale_groups(written.root)
    assert len(groups) > 40
    for group in groups:
        levels = open_volume(group).levels
        assert [level.name for level in levels] == [f"s{n}" for n in range(len(levels))]
        assert len(levels) >= 2
        for fine, coarse in itertools.pairwise(levels):
            for axis in range(3):
                children = fine.grid.centres(axis)[: 2 * coarse.grid.shape[axis]].reshape(-1, 2)
                np.testing.assert_allclose(coarse.grid.centres(axis), children.mean(axis=1), rtol=0, atol=1e-6)
                assert coarse.grid.shape[axis] == fine.grid.shape[axis] // 2


def test_metadata_is_ome_ngff_0_4_in_zarr_v2(written):
    for group in multiscale_groups(written.root):
        (multiscale,) = json.loads((group / ".zattrs").read_text())["multiscales"]
        assert multiscale["version"] == "0.4"
        assert multiscale["axes"] == [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
        for dataset in multiscale["datasets"]:
            assert [step["type"] for step in dataset["coordinateTransformations"]] == ["scale", "translation"]
            assert json.loads((group / dataset["path"] / ".zarray").read_text())["zarr_format"] == 2


def test_raw_lies_where_the_plan_says_and_has_three_levels(written, datasets):
    for dataset in datasets:
        volume = open_volume(raw_path(written.root, dataset.name))
        assert len(volume.levels) >= 3
        assert volume.levels[0].grid == dataset.grid
        assert all(level.dtype == np.uint8 for level in volume.levels)
        assert min(dataset.grid.translation) > 0
        fine, coarse = (np.asarray(level.array[...], float) for level in volume.levels[:2])
        z, y, x = (n // 2 for n in fine.shape)
        means = fine[: 2 * z, : 2 * y, : 2 * x].reshape(z, 2, y, 2, x, 2).mean(axis=(1, 3, 5))
        assert np.abs(coarse - means).max() <= 0.5


def test_crops_lie_inside_raw_on_its_grid(written, datasets):
    for dataset in datasets:
        raw = open_volume(raw_path(written.root, dataset.name)).levels[0].grid
        for crop in dataset.crops:
            if not crop.tested:
                grid = open_volume(crop_path(written.root, dataset.name, crop.id) / "all").levels[0].grid
                assert raw.bounds.contains(grid.bounds)
                assert grid.is_aligned_with(raw)
                assert grid.shape == crop.shape
                assert grid.size < raw.size


def test_omitted_classes_are_not_there_and_all_others_are(written, datasets):
    for dataset in datasets:
        for crop in dataset.crops:
            if crop.tested:
                assert not crop_path(written.root, dataset.name, crop.id).exists()
                continue
            names = folders(crop_path(written.root, dataset.name, crop.id)) - {"all"}
            assert names == set(written.annotated[crop.name])
            assert not names & set(crop.omitted)
            assert {"cell", "cyto", "ves", "pm"} - set(crop.omitted) <= names
            annotation = read_attributes(crop_path(written.root, dataset.name, crop.id))["cellmap"]["annotation"]
            assert set(annotation["class_names"]) == names


@pytest.mark.parametrize("level", ["s0", "s1"])
def test_all_array_agrees_with_the_classes(written, datasets, level):
    for dataset in datasets:
        for crop in dataset.crops:
            if crop.tested:
                continue
            folder = crop_path(written.root, dataset.name, crop.id)
            atoms = open_array(folder / "all" / level)[...]
            for name in written.annotated[crop.name]:
                entry = label_classes()[name]
                labels = open_array(folder / name / level)[...]
                expected = np.isin(atoms, sorted(entry.atoms))
                unknown = atoms == 0
                np.testing.assert_array_equal((labels > 0)[~unknown], expected[~unknown])
            omitted = [get_class(name).id for name in crop.omitted]
            assert not np.isin(atoms, omitted).any()
            assert omitted or atoms.all()


def test_annotations_say_how_they_are_encoded(written, datasets):
    folder = crop_path(written.root, datasets[0].name, datasets[0].crops[0].id)
    for name in written.annotated["crop1"]:
        labels = open_array(folder / name / "s0")[...]
        annotation = read_attributes(folder / name / "s0")["cellmap"]["annotation"]
        assert annotation["class_name"] == name
        assert annotation["complement_counts"] == {"absent": int((labels == 0).sum())}
        kind = "instance" if get_class(name).instance else "semantic"
        assert annotation["annotation_type"]["type"] == f"{kind}_segmentation"
        if kind == "semantic":
            assert set(np.unique(labels)) <= {0, 1}


def test_an_object_has_one_id_in_all_crops(written, datasets):
    dataset = datasets[0]
    seed = int(np.random.SeedSequence((1, 0)).generate_state(1)[0])
    tissue = generate_tissue(dataset.grid.shape, dataset.grid.voxel_size, seed=seed)
    for crop in dataset.crops[:2]:
        for name in ("mito", "ves", "cell"):
            labels = open_array(crop_path(written.root, dataset.name, crop.id) / name / "s0")[...]
            np.testing.assert_array_equal(labels, tissue.instances(name)[crop.slices])


def test_truth_and_manifest_agree(written, datasets):
    crops = read_test_crops(written.root / "test_crop_manifest.csv")
    assert tuple(crops.values()) == written.test_crops
    assert set(crops) == {crop.id for dataset in datasets for crop in dataset.crops if crop.tested}
    for crop in crops.values():
        folder = written.truth / f"crop{crop.id}"
        assert folders(folder) == {f"{name}{end}" for name in crop.classes for end in ("", "_mask")}
        raw = open_volume(raw_path(written.root, crop.dataset)).levels[0].grid
        for name in crop.classes:
            array = open_array(folder / name)
            grid = Grid(voxel_size=crop.voxel_size, translation=crop.translation, shape=crop.shape)
            assert array.shape == crop.shape
            assert dict(array.attrs) == {
                "voxel_size": list(grid.voxel_size),
                "translation": list(grid.translation),
                "shape": list(grid.shape),
            }
            assert raw.bounds.contains(grid.bounds)
            assert array.dtype.kind == "u"
            ids = np.unique(array[...])
            expected = np.arange(ids.max() + 1) if get_class(name).instance else [0, 1]
            assert set(ids) <= set(expected)
            assert (open_array(folder / f"{name}_mask")[...] == 1).all()


def test_same_seed_same_files(tmp_path, datasets):
    digests = []
    for folder in ("a", "b"):
        write_challenge(tmp_path / folder, seed=5, plan=ChallengePlan(datasets=datasets[:1]))
        files = sorted(path for path in (tmp_path / folder).rglob("*") if path.is_file())
        digests.append({path.relative_to(tmp_path / folder): path.read_bytes() for path in files})
    assert digests[0] == digests[1]


def test_what_is_reported_is_what_is_there(written):
    files = [path for path in written.root.rglob("*") if path.is_file()]
    assert written.n_bytes == sum(path.stat().st_size for path in files)
    assert written.truth == written.root / "ground_truth.zarr"


def test_nothing_is_overwritten(written, datasets):
    before = {path: path.stat().st_mtime_ns for path in written.root.rglob("*")}
    with pytest.raises(ExistingOutputError, match="exists"):
        write_challenge(written.root, plan=ChallengePlan(datasets=datasets))
    assert {path: path.stat().st_mtime_ns for path in written.root.rglob("*")} == before


def test_impossible_plans_are_refused_with_all_their_problems():
    grid = Grid(voxel_size=(8, 8, 8), translation=(8, 8, 8), shape=(16, 16, 16))
    crops = (
        SyntheticCrop(id=1, begin=(4, 0, 0), shape=(16, 8, 8)),
        SyntheticCrop(id=1, begin=(0, 0, 0), shape=(8, 8, 8)),
    )
    with pytest.raises(ProblemsError) as caught:
        ChallengePlan(datasets=(SyntheticDataset(name="d", grid=grid, crops=crops),))
    assert len(caught.value.problems) == 2
    with pytest.raises(ProblemsError, match="no data set"):
        ChallengePlan(datasets=())


def test_unknown_classes_are_refused(datasets):
    with pytest.raises(UnknownClassError, match="did you mean mito_mem"):
        ChallengePlan(datasets=datasets, tested_classes=("mito_men",))
    with pytest.raises(InvalidArgumentError, match="tested_classes"):
        ChallengePlan(datasets=datasets, tested_classes=())
    crop = SyntheticCrop(id=1, begin=(0, 0, 0), shape=(8, 8, 8), omitted=("mito_men",))
    with pytest.raises(UnknownClassError):
        ChallengePlan(datasets=(dataclasses.replace(datasets[0], crops=(crop,)),))


@pytest.mark.parametrize("quick", [False, True])
def test_default_plans_keep_test_crops_apart(quick):
    plans = default_plan(quick=quick).datasets
    assert len(plans) >= 2
    assert any(len(set(plan.grid.voxel_size)) > 1 for plan in plans)
    assert any(crop.omitted for plan in plans for crop in plan.crops)
    for plan in plans:
        taken = np.zeros(plan.grid.shape, np.uint8)
        for crop in plan.crops:
            taken[crop.slices] += 1
        assert taken.max() == 1, f"crops of {plan.name} overlap"
        assert sum(crop.tested for crop in plan.crops) >= 1
        assert sum(not crop.tested for crop in plan.crops) >= 1


def test_pieces_of_cut_objects_are_numbered_apart():
    ids = np.zeros((3, 4, 9), np.uint16)
    ids[0, 0, :3] = 900
    ids[2, 3, 5:] = 900
    ids[0, 1, 3:5] = 7
    numbered = number_objects(ids)
    assert numbered.dtype == np.uint8
    assert sorted(np.unique(numbered)) == [0, 1, 2, 3]
    np.testing.assert_array_equal(numbered > 0, ids > 0)
    assert len({numbered[0, 0, 0], numbered[2, 3, 5], numbered[0, 1, 3]}) == 3


def test_files_are_where_the_challenge_has_them(written, datasets):
    expected = {Path("ground_truth.zarr"), Path("test_crop_manifest.csv"), *(Path(plan.name) for plan in datasets)}
    assert {path.relative_to(written.root) for path in written.root.iterdir()} == expected
