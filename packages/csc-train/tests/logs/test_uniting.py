import pytest
from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from csc_data.errors import ExistingOutputError, InvalidArgumentError, MissingDataError
from csc_train.logs.event_files import event_files
from csc_train.logs.uniting import unite_tensorboards

CLOCK = [1_700_000_000.0]


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Return a function that logs steps of a tag, as the official toolbox does, at a later time than the last call."""

    def write(folder, steps, tag="loss", value=0.0, **choices):
        CLOCK[0] += 10
        monkeypatch.setattr("tensorboard.summary.writer.event_file_writer.time.time", lambda: CLOCK[0])
        with SummaryWriter(str(tmp_path / folder), **choices) as writer:
            for step in steps:
                writer.add_scalar(tag, step + value, step)
        return tmp_path / folder

    return write


def read(folder):
    logs = EventAccumulator(str(folder), size_guidance={SCALARS: 0, IMAGES: 0}, purge_orphaned_data=False)
    logs.Reload()
    return {tag: [(event.step, event.value) for event in logs.Scalars(tag)] for tag in logs.Tags()["scalars"]}


def test_each_run_becomes_a_folder_called_by_its_path(log, tmp_path):
    log("one/tensorboard/3d_unet", range(1, 4))
    log("two/tensorboard/3d_unet", range(1, 6))
    united = unite_tensorboards([tmp_path / "one", tmp_path / "two"], tmp_path / "all")
    assert [run.name for run in united] == ["one/tensorboard/3d_unet", "two/tensorboard/3d_unet"]
    assert [(run.points, run.left_out) for run in united] == [(3, 0), (5, 0)]
    for run in united:
        assert read(tmp_path / "all" / run.name) == read(run.folders[0])
        assert len(event_files(tmp_path / "all" / run.name)) == 1


def test_starts_of_one_run_are_one_row_of_points_and_the_later_ones_count(log, tmp_path):
    """The official toolbox opens a new file at each start, and logs what was not saved once more."""
    log("run", range(1, 8))
    log("run", range(5, 7), value=0.5)  # killed once more, before it came as far
    log("run", range(6, 10), value=0.25)
    (run,) = unite_tensorboards([tmp_path / "run"], tmp_path / "all")
    assert (run.name, run.points, run.left_out) == ("run", 9, 4)
    points = read(tmp_path / "all" / "run")["loss"]
    assert points == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5.5), (6, 6.25), (7, 7.25), (8, 8.25), (9, 9.25)]


def test_what_tensorboard_hides_stays_hidden(log, tmp_path):
    log("run", range(1, 8))
    log("run", range(4, 6), purge_step=4, tag="other")
    unite_tensorboards([tmp_path / "run"], tmp_path / "all")
    steps = {tag: [step for step, _ in points] for tag, points in read(tmp_path / "all" / "run").items()}
    assert steps == {"loss": [1, 2, 3], "other": [4, 5]}


def test_parts_of_a_run_in_several_folders_are_joined_where_that_is_asked_for(log, tmp_path):
    log("here/run", range(1, 6))
    log("there/run", range(4, 9))
    log("here/run", range(7, 10), tag="validation")
    separate = unite_tensorboards([tmp_path / "here", tmp_path / "there"], tmp_path / "apart")
    assert len(separate) == 2
    (run,) = unite_tensorboards([tmp_path / "here", tmp_path / "there"], tmp_path / "all", join=True)
    assert run.folders == (tmp_path / "here" / "run", tmp_path / "there" / "run")
    steps = {tag: [step for step, _ in points] for tag, points in read(tmp_path / "all" / run.name).items()}
    assert steps == {"loss": [1, 2, 3, 4, 5, 6, 7, 8], "validation": [7, 8, 9]}


def test_pictures_and_descriptions_of_tags_come_along(tmp_path):
    torch = pytest.importorskip("torch")
    with SummaryWriter(str(tmp_path / "run")) as writer:
        writer.add_image("picture", torch.zeros(3, 2, 2), 1)
        writer.add_hparams({"rate": 0.1}, {"score": 1.0}, run_name=".")
    unite_tensorboards([tmp_path / "run"], tmp_path / "all")
    before, after = (EventAccumulator(str(folder)).Reload() for folder in (tmp_path / "run", tmp_path / "all" / "run"))
    assert after.Tags() == before.Tags()
    assert after.Images("picture") == before.Images("picture")
    assert after.PluginTagToContent("hparams") == before.PluginTagToContent("hparams")


def test_uniting_again_takes_what_is_new_and_not_what_was_united(log, tmp_path):
    log("runs/a", range(1, 3))
    unite_tensorboards([tmp_path / "runs"], tmp_path / "runs" / "all")
    log("runs/a", range(3, 5))
    united = unite_tensorboards([tmp_path / "runs"], tmp_path / "runs" / "all")
    assert [run.name for run in united] == ["a"]
    assert len(read(tmp_path / "runs" / "all" / "a")["loss"]) == 4


def test_what_cannot_be_united_is_told(log, tmp_path):
    run = log("run", [1])
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingDataError, match="nowhere"):
        unite_tensorboards([tmp_path / "nowhere"], tmp_path / "all")
    with pytest.raises(MissingDataError, match="holds no TensorBoard logs"):
        unite_tensorboards([tmp_path / "empty"], tmp_path / "all")
    with pytest.raises(InvalidArgumentError, match="choose another place"):
        unite_tensorboards([run], tmp_path)
    log("all/run", [1])
    with pytest.raises(ExistingOutputError, match="choose another place"):
        unite_tensorboards([run], tmp_path / "all")
    assert not (tmp_path / "empty" / "run").exists()
