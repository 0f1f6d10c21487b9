import random

import pytest
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

from csc_train.logs.event_files import event_files
from csc_train.training.hooks.logbook import Logbook

STEPS = ("loss", "lr", "gradient_norm", "samples_per_second", "data_wait")
EPOCHS = ("validation", "validation_iou", "validation_dice", "validation_iou/mito", "memory/process_gb")


def points(folder):
    """Return the steps of each tag as TensorBoard reads them."""
    logs = EventAccumulator(str(folder), size_guidance={SCALARS: 0})
    logs.Reload()
    return {tag: [event.step for event in logs.Scalars(tag)] for tag in logs.Tags()["scalars"]}


def stored(folder):
    """Return the steps of each tag as they are stored, for readers that do not know of hidden ones."""
    logs = EventAccumulator(str(folder), size_guidance={SCALARS: 0}, purge_orphaned_data=False)
    logs.Reload()
    return {tag: [event.step for event in logs.Scalars(tag)] for tag in logs.Tags()["scalars"]}


def is_whole(folder, steps, epochs, count=4):
    """Check that each point of so many steps and epochs is there once, in order."""
    wanted = {tag: list(range(1, steps + 1)) for tag in STEPS}
    wanted |= {tag: [count * epoch for epoch in range(1, epochs + 1)] for tag in EPOCHS if epochs}
    assert points(folder) == wanted
    assert stored(folder) == wanted


def test_tags_are_those_that_are_known_and_each_has_its_points(begin, tmp_path):
    run = begin(Logbook()).start()
    run.epoch()
    run.epoch()
    run.end()
    is_whole(tmp_path / "logs", 8, 2)
    logs = EventAccumulator(str(tmp_path / "logs"))
    logs.Reload()
    assert [event.value for event in logs.Scalars("validation")] == pytest.approx([0.7, 0.7])
    assert logs.Scalars("samples_per_second")[0].value == pytest.approx(5)
    assert logs.Scalars("data_wait")[0].value == pytest.approx(0.25)


def test_a_step_is_on_the_disk_before_the_next_one_begins(begin, tmp_path):
    """So that it is there when a checkpoint is, and a kill afterwards loses nothing."""
    run = begin(Logbook()).start()
    run.step()
    is_whole(tmp_path / "logs", 1, 0)  # nothing was closed


def test_two_resumes_in_a_row_lose_and_double_nothing(begin, tmp_path):
    first = begin(Logbook()).start()
    first.epoch()
    first.epoch()
    first.step()  # killed after its checkpoint, in the next epoch
    second = begin(Logbook()).goes_on_from(2).start()
    is_whole(tmp_path / "logs", 8, 2)
    for _ in range(3):
        second.step()
    third = begin(Logbook()).goes_on_from(2, 1).start()
    is_whole(tmp_path / "logs", 9, 2)
    third.epoch()
    third.end()
    is_whole(tmp_path / "logs", 12, 3)


def test_an_epoch_whose_validation_is_done_again_has_one_point(begin, tmp_path):
    """A checkpoint after the last step and before validation has the step of the epoch's end."""
    first = begin(Logbook()).start()
    first.epoch()
    again = begin(Logbook()).goes_on_from(0, 4).start()
    is_whole(tmp_path / "logs", 4, 0)
    again.epoch()
    is_whole(tmp_path / "logs", 4, 1)


def test_runs_killed_anywhere_are_whole_in_the_end(begin, tmp_path):
    rng = random.Random(0)
    position = 0
    for _ in range(8):
        run = begin(Logbook())
        if position:
            run.goes_on_from(*divmod(position, 4))
        run.start()
        saved = position
        for _ in range(rng.randint(0, 9)):
            run.step()
            if run.state.iteration == 4:
                run.validate()
            if rng.random() < 0.4:
                saved = run.state.epoch * 4 + run.state.iteration
        position = saved
    run = begin(Logbook())
    if position:
        run.goes_on_from(*divmod(position, 4))
    run.start()
    while run.state.epoch < 10:
        run.epoch()
    is_whole(tmp_path / "logs", 40, 10)


def test_a_record_that_a_kill_cut_in_two_is_left_out(begin, tmp_path):
    run = begin(Logbook()).start()
    run.step()
    run.step()
    file = event_files(tmp_path / "logs")[0]
    file.write_bytes(file.read_bytes()[:-5])
    begin(Logbook()).goes_on_from(0, 1).start().step()
    is_whole(tmp_path / "logs", 2, 0)


def test_a_clock_that_is_behind_changes_no_order(begin, tmp_path, monkeypatch):
    begin(Logbook()).start().epoch()
    monkeypatch.setattr("csc_train.logs.event_files.time.time", lambda: 1000.0)
    begin(Logbook()).goes_on_from(1).start().epoch()
    is_whole(tmp_path / "logs", 8, 2)


def test_a_new_run_sets_the_logs_of_an_earlier_one_aside(begin, tmp_path):
    begin(Logbook()).start().epoch()
    begin(Logbook()).start().step()
    is_whole(tmp_path / "logs", 1, 0)
    is_whole(tmp_path / "logs" / "earlier_1", 4, 1)


def test_a_new_run_leaves_nothing_of_one_that_finished_no_epoch(begin, tmp_path):
    begin(Logbook()).start().step()
    (tmp_path / "logs" / "run.json").write_text("{}")
    begin(Logbook()).start().step()
    is_whole(tmp_path / "logs", 1, 0)
    assert len(list((tmp_path / "logs").iterdir())) == 1


def test_other_processes_write_nothing(begin, tmp_path):
    run = begin(Logbook())
    run.speaks = False
    run.start().epoch()
    run.end()
    assert not (tmp_path / "logs").exists()


def test_a_run_with_nothing_left_to_do_makes_no_file(begin, tmp_path):
    begin(Logbook()).start().epoch()
    before = event_files(tmp_path / "logs")
    begin(Logbook()).goes_on_from(1).start().end()
    assert event_files(tmp_path / "logs") == before
