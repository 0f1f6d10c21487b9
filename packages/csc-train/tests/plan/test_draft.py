import itertools
import math
from dataclasses import replace

import pytest

from csc_data.errors import InvalidArgumentError
from csc_train.plan.draft import LEAST_STEPS, MOST_BATCH, MOST_STEPS, draft
from csc_train.plan.networks import NETWORKS
from csc_train.plan.resolution import divide_classes


@pytest.fixture
def draft_of():
    def make(fingerprint, machine):
        [group] = divide_classes(fingerprint, machine.seconds)
        return draft(group, fingerprint, machine)

    return make


def test_a_laptop_in_five_minutes_gets_about_the_recipe_of_the_demo(draft_of, fingerprint_of, facts, laptop):
    """900 steps of two patches of 40 voxels, with the smallest network, at 8 nm: found by hand."""
    classes = [
        facts(f"{name}_mem", diameter=320, thickness=14) for name in ("mito", "ves", "er", "golgi", "ld", "lyso")
    ]
    made = draft_of(fingerprint_of(*classes, voxel_size=(8.0, 8.0, 8.0)), laptop)
    assert made.network is NETWORKS[0]
    assert made.patch == (40, 40, 40)
    assert made.batch == 2
    assert LEAST_STEPS <= made.steps < 1.5 * LEAST_STEPS


def test_a_patch_holds_three_quarters_of_the_objects_where_memory_allows(draft_of, fingerprint_of, mito, workstation):
    made = draft_of(fingerprint_of(mito), workstation)
    assert made.patch[0] * 16 >= mito.diameter_nm.p75
    assert "three quarters of the objects" in made.patch_reason
    [group] = divide_classes(fingerprint_of(mito), workstation.seconds)
    little = replace(workstation, memory_bytes=int(1.2 * made.cost.memory_bytes(2 * 32**3)), seconds=1e7)
    assert math.prod(draft(group, fingerprint_of(mito), little).patch) <= math.prod(made.patch)


def test_a_patch_is_not_wider_than_crops(draft_of, fingerprint_of, nucleus, workstation):
    wide, narrow = (
        draft_of(fingerprint_of(nucleus, extent=extent, voxel_size=(128.0,) * 3), workstation)
        for extent in (20_000.0, 5_000.0)
    )
    assert wide.patch[0] * 256 >= nucleus.diameter_nm.p75
    assert "objects of each class" in wide.patch_reason
    # Here the largest network would need a patch of 64 voxels, 16 um.
    assert math.prod(narrow.patch) < math.prod(wide.patch)
    assert "crops are 5000 nm wide" in narrow.patch_reason


def test_steps_end_where_more_bring_little(draft_of, fingerprint_of, mito, workstation):
    made = draft_of(fingerprint_of(mito), replace(workstation, seconds=1e8))
    assert made.steps == MOST_STEPS
    assert made.seconds(made.steps, workstation) < 1e8


@pytest.mark.parametrize("memory", [2e8, 1e9, 4e9, 64e9])
def test_batch_times_patch_fits_into_memory(draft_of, fingerprint_of, mito, workstation, memory):
    made = draft_of(fingerprint_of(mito), replace(workstation, memory_bytes=int(memory)))
    assert made.memory_bytes <= memory
    assert made.memory_bytes == made.cost.memory_bytes(made.batch * math.prod(made.patch))
    assert 2 <= made.batch <= MOST_BATCH


def test_more_time_never_makes_anything_smaller(draft_of, fingerprint_of, mito, laptop):
    made = [draft_of(fingerprint_of(mito), replace(laptop, seconds=60.0 * 4**n)) for n in range(7)]
    parameters = [one.cost.parameters for one in made]
    assert parameters == sorted(parameters)
    assert parameters[0] < parameters[-1]
    for one, more in itertools.pairwise(made):
        if one.network == more.network:
            assert math.prod(more.patch) >= math.prod(one.patch)
            assert more.steps * more.voxels > one.steps * one.voxels


def test_few_crops_get_a_smaller_network(draft_of, fingerprint_of, mito, workstation):
    found = [draft_of(fingerprint_of(mito, crops=crops), workstation) for crops in (3, 10, 40)]
    assert [one.network.least_crops for one in found] == [0, 8, 16]
    assert "3 crops would be learnt by heart by larger ones" in found[0].network_reason
    assert "by heart" not in found[2].network_reason


def test_patches_have_fewer_voxels_along_axes_of_longer_ones(draft_of, fingerprint_of, membrane, workstation):
    made = draft_of(fingerprint_of(membrane, voxel_size=(32.0, 4.0, 4.0)), workstation)
    assert made.patch[0] < made.patch[1] == made.patch[2]
    assert all(edge % made.cost.multiple == 0 for edge in made.patch)


def test_without_memory_for_any_patch_the_error_says_how_much_is_needed(draft_of, fingerprint_of, mito, laptop):
    with pytest.raises(InvalidArgumentError, match=r"no patch fits into 1\.0 MB of memory on cpu: .* needs \d+\.\d MB"):
        draft_of(fingerprint_of(mito), replace(laptop, memory_bytes=1_000_000))
