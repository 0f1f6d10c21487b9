import itertools
import math
from dataclasses import replace

import pytest

from csc_data.errors import InvalidArgumentError, ProblemsError
from csc_train.devices import DeviceMemoryError
from csc_train.plan import StepCost, make_plans
from csc_train.plan.networks import Network, network_cost


def values(plan):
    return {choice.name: choice.value for choice in plan.choices}


def voxels(plan):
    """Return the voxels of all batches of a plan."""
    settings = plan.settings
    steps = settings.epochs * settings.iterations_per_epoch
    return steps * settings.batch_size * math.prod(settings.input_array_info.shape)


def test_every_choice_is_a_valid_setting(fingerprint_of, mito, membrane, nucleus, laptop, workstation):
    for machine in (laptop, workstation):
        for plan in make_plans(fingerprint_of(mito, membrane, nucleus), machine, datasplit="split.csv"):
            settings = plan.settings
            assert settings.classes == plan.group.names
            assert settings.input_array_info.scale == plan.group.voxel_size
            assert str(settings.datasplit_path) == "split.csv"


def test_most_choices_say_why(fingerprint_of, mito, laptop):
    [plan] = make_plans(fingerprint_of(mito), laptop)
    silent = {choice.name for choice in plan.choices if not choice.reason}
    assert silent == {"classes", "model_kwargs", "iterations_per_epoch"}  # their neighbours speak for them


def test_groups_share_the_time_and_have_names_of_their_own(fingerprint_of, mito, membrane, nucleus, workstation):
    plans = make_plans(fingerprint_of(mito, membrane, nucleus), workstation, name="mine")
    assert [plan.settings.model_name for plan in plans] == ["mine_4nm", "mine_16nm", "mine_256nm"]
    assert sum(plan.seconds for plan in plans) <= workstation.seconds
    [alone] = make_plans(fingerprint_of(mito), workstation, name="mine")
    assert alone.settings.model_name == "mine"


@pytest.mark.parametrize("minutes", [0.2, 5, 60, 600])
def test_the_time_is_used_and_kept(fingerprint_of, mito, laptop, minutes):
    machine = replace(laptop, seconds=60 * minutes)
    [plan] = make_plans(fingerprint_of(mito), machine)
    assert 0.9 * machine.seconds <= plan.seconds <= machine.seconds
    assert plan.settings.warmup_iterations < plan.settings.epochs * plan.settings.iterations_per_epoch


def test_few_crops_and_many_passes_want_more_augmentation(fingerprint_of, mito, laptop):
    def augmented(crops, annotated, seconds=3000):
        machine = replace(laptop, seconds=seconds)
        found = values(make_plans(fingerprint_of(mito, crops=crops, annotated=annotated), machine)[0])
        return "intensity_transforms" in found, "rotate" in found["spatial_transforms"]

    assert augmented(20, 1e13) == (False, False)
    assert augmented(20, 1e9) == (True, True)
    assert augmented(4, 1e9, seconds=300) == (False, False)  # too short to learn anything by heart
    between = [10 ** (9 + n / 8) for n in range(32)]
    few, many = ([augmented(crops, annotated) for annotated in between] for crops in (4, 20))
    assert all(one >= other for one, other in zip(few, many, strict=True))
    assert few != many


def test_axes_of_thick_sections_are_not_swapped(fingerprint_of, membrane, laptop):
    [plan] = make_plans(fingerprint_of(membrane, voxel_size=(30.0, 4.0, 4.0)), laptop)
    assert values(plan)["spatial_transforms"]["transpose"] == {"axes": ["x", "y"]}
    assert plan.settings.input_array_info.scale == (30, 4, 4)


def test_rare_classes_weigh_more_and_frequent_ones_do_not(fingerprint_of, facts, membrane, laptop):
    rare, frequent = (
        make_plans(fingerprint_of(entry), laptop)[0].settings
        for entry in (membrane, facts("mito", diameter=300, share=0.2))
    )
    assert (rare.weight_loss, frequent.weight_loss) == (True, False)
    assert rare.max_positive_weight == 3


def test_a_class_that_is_present_nowhere_is_named(fingerprint_of, facts, mito, laptop):
    absent = replace(facts("golgi"), crops_present=0)
    with pytest.raises(ProblemsError, match=r"golgi.*no crop that trains has any of it"):
        make_plans(fingerprint_of(mito, absent), laptop)


def test_what_is_measured_decides_how_much_is_trained(fingerprint_of, mito, laptop):
    tried = []

    def slow(settings):
        tried.append(settings)
        size = settings.batch_size * math.prod(settings.input_array_info.shape)
        return StepCost(seconds=size / 2e4, cpu_seconds=1, memory_bytes=None, precision="bf16-mixed")

    machine = replace(laptop, seconds=3600)
    [guessed], [measured] = (
        make_plans(fingerprint_of(mito), machine),
        make_plans(fingerprint_of(mito), machine, measure=slow),
    )
    assert measured.is_measured
    assert not guessed.is_measured
    assert "measured by a few steps" in measured.expectation()
    last = measured.settings.input_array_info.shape
    assert tried[-1].input_array_info.shape == last  # what is written was tried
    assert voxels(measured) < voxels(guessed)  # it is slower than was thought
    assert voxels(measured) / 2e4 <= machine.seconds
    assert measured.settings.precision == "bf16-mixed"


def test_what_does_not_fit_after_all_is_made_smaller(fingerprint_of, mito, workstation):
    tried = []

    def crowded(settings):
        network = Network(name=settings.architecture, arguments=settings.model_kwargs, learning_rate=1, least_crops=0)
        size = settings.batch_size * math.prod(settings.input_array_info.shape)
        tried.append(network_cost(network, 1).memory_bytes(size))
        if len(tried) < 4:
            raise DeviceMemoryError("too much")
        return StepCost(seconds=0.1, cpu_seconds=0.1, memory_bytes=123, precision="32-true")

    machine = replace(workstation, memory_bytes=4 * 10**9)
    [plan] = make_plans(fingerprint_of(mito, crops=4), machine, measure=crowded)
    assert all(later < earlier for earlier, later in itertools.pairwise(tried[:4]))
    assert plan.memory_bytes == 123


def test_a_device_that_holds_nothing_ends_in_one_clear_error(fingerprint_of, mito, workstation):
    def full(settings):
        raise DeviceMemoryError("too much")

    with pytest.raises(InvalidArgumentError, match=r"too much|no patch fits"):
        make_plans(fingerprint_of(mito), replace(workstation, memory_bytes=4 * 10**8), measure=full)
