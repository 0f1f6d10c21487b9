from dataclasses import replace

import numpy as np
import pytest

from csc_data.fingerprint import ClassFacts, Spread
from csc_submit import ProcessSettings
from csc_submit.suggesting import suggest_processing

MITO = ClassFacts(
    name="mito",
    crops=2,
    crops_present=2,
    known_nm3=1e9,
    present_nm3=1e8,
    objects=10,
    diameter_nm=Spread(p5=100, median=110, p75=120, p95=130),
    bulk_nm=115,
    thickness_nm=150,
    instance=True,
)
FINE = (1e-3, 1e-3, 1e-3)
"""Voxels so small that to lose one is nothing."""


def test_small_objects_of_instance_classes_are_removed_and_true_ones_are_kept():
    small = replace(MITO, name="ves", diameter_nm=replace(MITO.diameter_nm, p5=40), bulk_nm=46)
    membrane = replace(MITO, name="mito_mem", instance=False)
    settings = ProcessSettings(**{c.name: c.value for c in suggest_processing([MITO, small, membrane], FINE)})
    ball = np.pi / 6 * 100**3
    assert 0.1 * ball < settings.for_class("mito").min_size_nm3 < 0.5 * ball
    assert settings.for_class("ves").min_size_nm3 == pytest.approx(
        settings.for_class("mito").min_size_nm3 * 0.4**3, rel=0.05
    )
    assert settings.for_class("mito_mem").min_size_nm3 == 0
    assert settings.for_class("mito_mem").threshold == 0.5


def test_every_choice_says_why_and_without_objects_nothing_is_removed():
    assert all(choice.reason for choice in suggest_processing([MITO], FINE))
    unseen = replace(MITO, diameter_nm=None)
    assert {choice.name for choice in suggest_processing([unseen], FINE)} == {"threshold"}


def test_crumbs_among_the_annotated_do_not_count():
    crumbs = replace(MITO, diameter_nm=replace(MITO.diameter_nm, p5=10), bulk_nm=200)
    settings = ProcessSettings(**{c.name: c.value for c in suggest_processing([crumbs], FINE)})
    assert settings.for_class("mito").min_size_nm3 == pytest.approx(0.05 * np.pi / 6 * 200**3, rel=0.05)


def test_a_size_is_that_without_the_outermost_voxels_and_never_that_of_most_objects_of_a_crop():
    def least(facts, edge):
        choices = suggest_processing([facts], (edge, edge, edge))
        return ProcessSettings(**{c.name: c.value for c in choices}).for_class("mito").min_size_nm3

    assert least(MITO, 10.0) == pytest.approx(0.25 * np.pi / 6 * 80**3, rel=0.05)
    assert least(MITO, 48.0) == 0  # 4 nm across remain, less than a voxel
    uneven = replace(MITO, small_nm=50)
    assert least(uneven, 1e-3) == pytest.approx(np.pi / 6 * 50**3, rel=0.05)
    assert least(uneven, 10.0) == pytest.approx(np.pi / 6 * 30**3, rel=0.05)
