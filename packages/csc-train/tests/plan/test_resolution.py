import math

import pytest

from csc_train.plan.resolution import asked_nm, divide_classes

HOUR = 3600.0


def sizes(fingerprint, seconds=10 * HOUR):
    return {group.names: group.voxel_size for group in divide_classes(fingerprint, seconds)}


def test_thin_classes_ask_for_finer_voxels_than_bulky_ones(fingerprint_of, mito, membrane):
    assert asked_nm(membrane)[0] == 7
    assert asked_nm(mito)[0] == 16
    assert sizes(fingerprint_of(membrane)) == {("er_mem",): (4, 4, 4)}
    assert sizes(fingerprint_of(mito)) == {("mito",): (16, 16, 16)}


def test_voxels_are_never_finer_than_most_of_the_annotation_and_the_reason_says_so(fingerprint_of, membrane):
    [group] = divide_classes(fingerprint_of(membrane, voxel_size=(16.0, 16.0, 16.0)), HOUR)
    assert group.voxel_size == (16, 16, 16)
    assert "would ask for 7.0 nm, but most raw or annotation has 16 nm" in group.reason


def test_classes_that_want_about_the_same_are_learnt_together_at_the_finer_size(fingerprint_of, facts, mito):
    larger = facts("ld", diameter=640, thickness=400)  # wants twice the voxel size
    assert sizes(fingerprint_of(larger, mito)) == {("ld", "mito"): (16, 16, 16)}


def test_classes_that_want_very_different_voxels_get_groups_of_their_own(fingerprint_of, mito, membrane, nucleus):
    fingerprint = fingerprint_of(nucleus, mito, membrane)
    assert sizes(fingerprint) == {("er_mem",): (4, 4, 4), ("mito",): (16, 16, 16), ("nuc",): (256, 256, 256)}


def test_with_little_time_the_groups_that_are_nearest_are_joined(fingerprint_of, mito, membrane, nucleus):
    fingerprint = fingerprint_of(nucleus, mito, membrane)
    assert sizes(fingerprint, 1250) == {("mito", "er_mem"): (4, 4, 4), ("nuc",): (256, 256, 256)}
    assert sizes(fingerprint, 300) == {("nuc", "mito", "er_mem"): (4, 4, 4)}


def test_thick_sections_stay_as_thick_and_nearly_cubic_voxels_become_cubes(fingerprint_of, mito, membrane):
    assert sizes(fingerprint_of(membrane, voxel_size=(30.0, 4.0, 4.0))) == {("er_mem",): (30, 4, 4)}
    assert sizes(fingerprint_of(membrane, voxel_size=(5.24, 4.0, 4.0))) == {("er_mem",): (4, 4, 4)}
    assert sizes(fingerprint_of(mito, voxel_size=(30.0, 4.0, 4.0))) == {("mito",): (30, 16, 16)}


def test_a_class_without_measured_objects_takes_what_is_there(fingerprint_of, facts):
    unseen = facts("mito")
    assert math.isinf(asked_nm(unseen)[0])
    assert sizes(fingerprint_of(unseen)) == {("mito",): (4, 4, 4)}


@pytest.mark.parametrize("order", [1, -1])
def test_classes_keep_their_order(fingerprint_of, facts, order):
    given = [facts(name, diameter=80, thickness=40) for name in ("mito", "ves", "ld")][::order]
    [group] = divide_classes(fingerprint_of(*given), HOUR)
    assert group.names == tuple(entry.name for entry in given)
