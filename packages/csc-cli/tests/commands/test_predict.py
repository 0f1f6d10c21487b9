import numpy as np
import pytest

from csc_data.challenge import TestCrop
from csc_data.challenge.test_crops import FILE_NAME, write_test_crops
from csc_data.config.user_config import Config
from csc_data.geometry import Grid
from csc_data.volumes import open_volume, write_multiscale
from csc_train import PredictResult

GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(24, 24, 24))


@pytest.fixture
def asked(monkeypatch):
    """Return what a prediction was asked for, in place of predicting."""
    found = {}

    def predict(experiment, *, config, progress, on_plan, **options):
        found.update(options, experiment=experiment)
        return PredictResult(checkpoint=None, classes=(), crops=(), problems=(), seconds=0.0)

    monkeypatch.setattr("csc_train.predict", predict, raising=False)
    return found


@pytest.mark.parametrize(
    ("given", "call"),
    [
        ("-c * -O -so", {"crops": ["*"], "existing": "overwrite", "orthoplanes": False}),
        ("-o o/{dataset}/{crop} -s s/{dataset}/{name} -r em -n gt/{crop}/{label}",
         {"output_path": "o/{dataset}/{crop}", "search_path": "s/{dataset}/{name}", "raw_name": "em",
          "crop_name": "gt/{crop}/{label}"}),
        ("--volume a --roi 0:1,0:1,0:1nm --roi :,:,:nm", {"volume": "a", "rois": ("0:1,0:1,0:1nm", ":,:,:nm")}),
        ("--checkpoint latest", {"checkpoint": "latest"}),
        ("--checkpoint a.pth --checkpoint b.pth", {"checkpoints": ("a.pth", "b.pth")}),
        ("--shards 1024", {"shards": [1024] * 3, "output_format": 3}),
        ("--format 3 --devices 4 -w 2", {"output_format": 3, "devices": 4, "workers": 2}),
        ("--set halo=[1,1,1] --tta all --scales 3 --compile --batch 2",
         {"halo": [1, 1, 1], "tta": "all", "scales": 3, "compile": True, "batch_size": 2}),
        ("--classes er,mito --output-grid crop", {"classes_to_write": ["er", "mito"], "output_grid": "crop"}),
    ],
)  # fmt: skip
def test_options_are_arguments_of_predict(run, asked, given, call):
    run("predict", "x.toml", *given.split())
    assert asked == {"experiment": "x.toml", "existing": "resume"} | call


def test_where_blocks_are_done_is_one_argument(run, asked):
    run("predict", "x.toml", "--cluster", "slurm", "--jobs", "3")
    assert (asked["execution"].cluster, asked["execution"].jobs) == ("slurm", 3)
    run("predict", "x.toml", "--devices", "0,2")
    assert asked["execution"].devices == ("0", "2")


@pytest.mark.parametrize("given", ["--shards 1,2", "--overlap 1", "--checkpoint best --checkpoint latest"])
def test_wrong_use_is_told(run, asked, given):
    assert run("predict", "x.toml", *given.split()).exit_code == 2


@pytest.fixture
def experiment(tmp_path):
    config = Config(data=str(tmp_path / "data"))
    raw = np.random.default_rng(0).integers(0, 256, GRID.shape).astype(np.uint8)
    write_multiscale(config.path("raw", dataset="a"), [raw], [GRID], chunks=(16, 16, 16))
    own = GRID.window((2, 2, 2), (16, 16, 16))
    crop = TestCrop(
        id=7,
        dataset="a",
        voxel_size=own.voxel_size,
        translation=own.translation,
        shape=own.shape,
        classes=("er", "nuc"),
    )
    write_test_crops(config.root / FILE_NAME, [crop])
    file = tmp_path / "x.toml"
    file.write_text(
        'classes = ["mito", "er"]\narchitecture = "3d_unet"\nmodel_kwargs = {width = 4}\ncheckpoint = "untrained"\n'
        "[input_array_info]\nshape = [16, 16, 16]\nscale = [8, 8, 8]\n"
    )
    return file, config


def test_a_dry_run_says_what_it_would_take_and_a_run_says_it_and_does_it(run, experiment):
    file, config = experiment
    dry = run("predict", str(file), "--data", config.data, "--dry-run", "--device", "cpu")
    for words in ("random weights", "lacks 1 of 2 classes that are scored or annotated: nuc", "passes", "a/crop7"):
        assert words in dry.output
    assert not (config.root / "predictions").exists()
    done = run("predict", str(file), "--data", config.data, "--device", "cpu", "--scales", "2")
    assert "a/crop7" in done.output
    assert f"in {config.root / 'predictions'}" in done.output
    volume = open_volume(config.path("predictions", dataset="a", crop="crop7", class_name="er"))
    assert [level.grid.shape for level in volume.levels] == [(16, 16, 16), (8, 8, 8)]
    assert not config.path("predictions", dataset="a", crop="crop7", class_name="mito").exists()


def test_a_check_says_how_much_depends_on_where_patches_lie(run, experiment):
    file, config = experiment
    result = run("predict", str(file), "--data", config.data, "--device", "cpu", "--check")
    assert "voxels across the threshold" in result.output
    assert [line.split()[0] for line in result.output.splitlines() if "%" in line] == ["er"]
    assert not (config.root / "predictions").exists()


def test_mistakes_are_one_line(run, experiment):
    file, config = experiment
    for given, words in (("--classes mitto", "did you mean mito"), ("-c 99", "no crop 99")):
        result = run("predict", str(file), "--data", config.data, *given.split())
        assert result.exit_code == 1
        assert words in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
