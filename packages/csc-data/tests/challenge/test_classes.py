from __future__ import annotations

import itertools
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_data.challenge import (
    UnknownClassError,
    UnknownCropError,
    get_class,
    get_class_relations,
    get_instance_classes,
    get_test_crop_labels,
    get_test_crops,
    get_tested_classes,
    get_training_crops,
    label_classes,
)


def test_the_facts_have_the_sizes_that_the_organisers_publish():
    assert len(get_tested_classes()) == 48
    assert len(get_test_crops()) == 16
    assert sum(len(crop.classes) for crop in get_test_crops().values()) == 413
    assert len(get_training_crops()) == 22
    assert sum(map(len, get_training_crops().values())) == 289


def test_ids_are_unique_and_parts_exist():
    ids = [entry.id for entry in label_classes().values()]
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)
    for entry in label_classes().values():
        assert entry.parts <= set(ids)
        assert entry.atoms == entry.parts | {entry.id}
        assert entry.id not in entry.parts


def test_what_is_scored_is_known_and_instance_classes_are_those_of_the_rules():
    assert set(get_tested_classes()) <= set(label_classes())
    assert get_instance_classes() == {"nuc", "vim", "ves", "endo", "lyso", "ld", "perox", "mito", "np", "mt", "cell"}
    for crop in get_test_crops().values():
        assert set(crop.classes) <= set(get_tested_classes())
        assert len(set(crop.classes)) == len(crop.classes)
        assert min(crop.shape) > 0
        assert min(crop.voxel_size) > 0


def test_training_and_test_crops_are_apart():
    training = list(itertools.chain(*get_training_crops().values()))
    assert len(set(training)) == len(training)
    assert not set(training) & set(get_test_crops())


@given(st.lists(st.sampled_from(list(label_classes())), unique=True))
def test_relations_are_symmetric_and_never_with_oneself_or_a_part(names):
    relations = get_class_relations(names)
    assert list(relations) == names
    for name, others in relations.items():
        assert name not in others
        assert list(others) == [n for n in names if n in others]
        for other in names:
            assert (other in others) == (name in relations[other])
            assert (other in others) == (not get_class(name).atoms & get_class(other).atoms)


def test_a_part_does_not_exclude_its_whole():
    relations = get_class_relations()
    assert "mito" not in relations["mito_mem"]
    assert "er" in relations["mito_mem"]
    assert "cell" not in relations["mito_mem"]
    assert "ecs" in relations["cell"]


@pytest.mark.parametrize(
    ("name", "hint"), [("mitto", "mean mito"), ("er_memm", "mean er_mem"), ("xyzzy", "csc classes")]
)
def test_an_unknown_class_has_a_hint(name, hint):
    with pytest.raises(UnknownClassError, match=hint) as caught:
        get_class(name)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.name, str(again)) == (name, str(caught.value))
    with pytest.raises(UnknownClassError):
        get_class_relations(["mito", name])


def test_labels_of_a_test_crop():
    assert get_test_crop_labels(557) == get_test_crops()[557].classes
    with pytest.raises(UnknownCropError) as caught:
        get_test_crop_labels(1)
    assert str(caught.value).startswith("1 is not a test crop of the challenge; they are ")


def test_the_facts_cannot_be_changed():
    with pytest.raises(TypeError):
        get_test_crops()[1] = None
    with pytest.raises(TypeError):
        label_classes()["mine"] = None
    with pytest.raises(TypeError):
        get_training_crops()["mine"] = ()
