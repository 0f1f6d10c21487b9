import numpy as np
import pytest

from csc_data.challenge.classes.own import make_classes
from csc_data.errors import MissingDataError
from csc_data.geometry import Grid
from csc_data.loader import ABSENT, PRESENT, UNKNOWN, open_crop
from csc_data.loader.poses.patch_map import PatchMap
from csc_data.loader.sources.codes import exclusions
from csc_data.loader.sources.holding.regions import RegionCache
from csc_data.loader.sources.label_source import LabelSource

GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(4, 4, 4))


def source_of(crop, classes, excludes):
    return LabelSource(crop, classes, excludes or {}, RegionCache(0))


def read_codes(crop, classes, grid, *, excludes=None):
    return source_of(crop, classes, excludes).read(grid)


def read_targets(crop, classes, grid):
    out = np.empty((len(classes), *grid.shape), dtype=np.float32)
    source_of(crop, classes, None).gather(*PatchMap.upright(grid), out)
    return out


def encoding(**values):
    return {"cellmap": {"annotation": {"annotation_type": {"type": "semantic_segmentation", "encoding": values}}}}


def ids(*values):
    data = np.zeros(GRID.shape, dtype=np.uint16)
    data.reshape(-1)[: len(values)] = values
    return data


@pytest.fixture
def crop_of(world):
    def make(labels, classes):
        world.write_raw(GRID)
        for name, (values, attributes) in labels.items():
            world.write_labels(name, GRID, values=values, attributes=attributes)
        return open_crop(world.row(labels), classes)

    return make


@pytest.mark.parametrize(
    ("attributes", "codes"),
    [
        (None, [ABSENT, PRESENT, PRESENT, PRESENT]),
        (encoding(absent=0, present=1), [ABSENT, PRESENT, PRESENT, PRESENT]),
        (encoding(absent=0, unknown=300), [ABSENT, PRESENT, PRESENT, UNKNOWN]),
        (encoding(unknown=0, present=1), [UNKNOWN, PRESENT, PRESENT, PRESENT]),
        (encoding(absent=2, unknown=0, present=1), [UNKNOWN, PRESENT, ABSENT, PRESENT]),
    ],
)
def test_what_the_annotation_says_of_its_values_holds(crop_of, attributes, codes):
    crop = crop_of({"mito": (ids(0, 1, 2, 300), attributes)}, ["mito"])
    got = read_codes(crop, ["mito"], GRID)
    assert got[0].reshape(-1)[:4].tolist() == codes


def test_outside_the_box_and_in_classes_that_nobody_annotated_all_is_unknown(crop_of):
    crop = crop_of({"mito": (ids(1), None)}, ["mito", "er"])
    target = read_targets(crop, ["mito", "er"], GRID.window((-1, 0, 0), (6, 4, 4)))
    assert np.isnan(target[1]).all()
    assert np.isnan(target[0, [0, 5]]).all()
    assert set(np.unique(target[0, 1:5])) == {0.0, 1.0}


def test_a_group_is_the_union_of_its_parts_where_all_are_annotated(crop_of):
    parts = {
        "mito_mem": (ids(1, 0, 0, 9, 9), encoding(absent=0, present=1, unknown=9)),
        "mito_lum": (ids(0, 1, 0, 1, 0), None),
        "mito_ribo": (ids(0, 0, 0, 0, 0), None),
    }
    crop = crop_of(parts, ["mito"])
    got = read_codes(crop, ["mito"], GRID)[0].reshape(-1)[:5]
    assert got.tolist() == [PRESENT, PRESENT, ABSENT, PRESENT, UNKNOWN]


def test_a_group_with_a_part_that_nobody_annotated_is_unknown(crop_of):
    assert crop_of({"mito_mem": (ids(1), None), "mito_lum": (ids(0, 1), None)}, ["mito"]) is None


def test_a_smaller_group_that_is_annotated_stands_for_its_parts(crop_of):
    labels = {"ne": (ids(1), None), "er_mem": (ids(0, 1), None), "er_lum": (ids(0, 0, 1), None), "eres": (ids(), None)}
    crop = crop_of(labels, ["er", "ne_mem_all"])
    assert read_codes(crop, ["er"], GRID)[0].reshape(-1)[:4].tolist() == [PRESENT, PRESENT, PRESENT, ABSENT]
    assert list(crop.labels) == ["er"]  # ne is more than its membranes


def test_own_classes_have_instances_parts_and_exclusions(world):
    own = {
        "synapse": {"instance": True, "excludes": ["er"]},
        "psd": {},
        "contact": {"parts": ["synapse", "psd"]},
    }
    table = make_classes({"classes": own}, "classes.toml")
    world.write_raw(GRID)
    for name, values in (("synapse", ids(3, 0, 4)), ("psd", ids(0, 1))):
        world.write_labels(name, GRID, values=values)
    classes = ("contact", "synapse", "er_mem", "mito")
    crop = open_crop(world.row(["synapse", "psd"]), classes, table)
    source = LabelSource(crop, classes, exclusions(classes, list(crop.labels), table), RegionCache(1 << 20))
    codes = source.read(GRID).reshape(4, -1)[:, :3]
    assert codes[0].tolist() == [PRESENT, PRESENT, PRESENT]
    assert codes[2].tolist() == [ABSENT, UNKNOWN, ABSENT]  # er, and so its membrane, is not where a synapse is
    assert codes[3].tolist() == [UNKNOWN] * 3
    found = source.gather_ids(*PatchMap.upright(GRID)).reshape(4, -1)[:, :3]
    assert found.tolist() == [[0] * 3, [3, 0, 4], [0] * 3, [0] * 3]


def test_a_group_with_an_array_of_its_own_is_that_array(crop_of):
    crop = crop_of({"ld": (ids(0, 0, 1), None), "ld_mem": (ids(1), None), "ld_lum": (ids(0, 1), None)}, ["ld"])
    assert read_codes(crop, ["ld"], GRID)[0].reshape(-1)[:3].tolist() == [0, 0, 1]


def test_a_named_class_without_an_array_is_an_error_that_names_it(world):
    world.write_raw(GRID)
    world.write_labels("mito", GRID)
    with pytest.raises(MissingDataError, match="er"):
        open_crop(world.row(["mito", "er"]), ["mito", "er"])


def test_mutual_exclusion_makes_known_zeros_where_nothing_else_is_known(crop_of):
    labels = {"mito_mem": (ids(1, 1, 0, 0), None), "er_lum": (ids(1, 0, 0, 7), encoding(absent=0, unknown=7))}
    classes = ["mito_mem", "er_lum", "mito", "er_mem"]
    crop = crop_of(labels, classes)
    relations = exclusions(classes, list(crop.labels))
    got = read_codes(crop, classes, GRID, excludes=relations).reshape(4, -1)[:, :4]
    assert got[0].tolist() == [1, 1, 0, 0]  # what is annotated stays
    assert got[1].tolist() == [1, 0, 0, UNKNOWN]
    assert got[2].tolist() == [ABSENT, UNKNOWN, UNKNOWN, UNKNOWN]  # er_lum excludes mito; mito_mem does not
    assert got[3].tolist() == [ABSENT, ABSENT, UNKNOWN, UNKNOWN]
    without = read_codes(crop, classes, GRID).reshape(4, -1)
    assert (without[2:] == UNKNOWN).all()


def test_a_class_that_is_not_asked_for_bears_witness_too(crop_of):
    crop = crop_of({"mito_mem": (ids(1, 0), None), "ecs": (ids(0, 0), None)}, ["ecs", "er_lum", "mito_mem"])
    relations = exclusions(["ecs", "er_lum"], list(crop.labels))
    got = read_codes(crop, ["ecs", "er_lum"], GRID, excludes=relations).reshape(2, -1)[:, :2]
    assert got.tolist() == [[0, 0], [ABSENT, UNKNOWN]]
