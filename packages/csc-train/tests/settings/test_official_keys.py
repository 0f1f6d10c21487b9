"""Every name that configurations of the official toolbox have: what it does, or the line that says what does it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from torch import nn

from csc_data.config.user_config import Config
from csc_data.errors import ProblemsError
from csc_data.loader import Dataloaders
from csc_data.loader.patches.validation import ValidationPatches
from csc_data.splits.split_file import SplitRow, read_datasplit, write_datasplit
from csc_models import describe_model
from csc_train import TrainSettings
from csc_train.checkpoints import checkpoint_path
from csc_train.datasplit import experiment_rows
from csc_train.network import build_network
from csc_train.objectives.objective import build_objective
from csc_train.settings import read_train_settings
from csc_train.settings.left_out import left_out
from csc_train.training.loaders import make_loaders
from csc_train.training.optimisation import StepSizes, build_optimizer
from csc_train.training.results import EpochRecord, ValidationScores
from csc_train.training.run_state import score_of

# The list, in its order.
KEYS = """
base_experiment_path model_save_path logs_save_path datasplit_path validation_prob learning_rate batch_size
input_array_info target_array_info epochs iterations_per_epoch random_seed classes model_name model_to_load model_kwargs
model load_model spatial_transforms validation_time_limit validation_batch_limit device use_s3 criterion
criterion_kwargs optimizer scheduler scheduler_kwargs filter_by_scale force_all_classes gradient_accumulation_steps
max_grad_norm train_raw_value_transforms val_raw_value_transforms target_value_transforms use_mutual_exclusion
weighted_sampler weight_loss dataloader_kwargs debug_memory low_is_best smoothing_window random_validation
"""

CUBE = {"shape": [16, 16, 16], "scale": [8.0, 8.0, 8.0]}
COMMON: dict[str, Any] = {
    "classes": ["mito", "ld"],
    "input_array_info": CUBE,
    "model_name": "3d_unet_s",
    "model_kwargs": {"width": 2, "depth": 2},
    "batch_size": 2,
    "iterations_per_epoch": 2,
    "device": "cpu",
}
NETWORK = """
import torch
model = torch.nn.Conv3d(1, 2, 1)
"""


@dataclass
class Read:
    """An experiment as it was read, and what training would make of it."""

    settings: TrainSettings
    config: Config
    folder: Path
    log: pytest.LogCaptureFixture

    @property
    def loaders(self) -> Dataloaders:
        return make_loaders(self.settings, self.config)

    @property
    def batch(self) -> dict[str, torch.Tensor]:
        return next(iter(self.loaders.train))

    @property
    def rates(self) -> list[float]:
        """The step size at the beginning of each epoch."""
        optimizer = build_optimizer(self.settings, build_network(self.settings))
        sizes, found = StepSizes(self.settings, optimizer), []
        steps = -(-self.settings.iterations_per_epoch // self.settings.gradient_accumulation_steps)
        for _ in range(self.settings.epochs):
            found.append(round(sizes.learning_rate, 9))
            for _ in range(steps):
                optimizer.step()
                sizes.after_step()
            sizes.after_epoch(0.0)
        return found

    def rows(self) -> dict[str, str]:
        """What each crop is used for."""
        return {row.crop: row.usage for row in experiment_rows(self.settings, self.config)}

    def losses(self, output: float) -> float:
        counts = self.loaders.train.patches.draws.class_counts()
        objective = build_objective(self.settings, counts)
        target = torch.ones(1, 2, 2, 2, 2)
        batch = {"output": target}
        return float(
            objective.total(objective.losses(torch.full_like(target, output), batch), objective.weights(batch))
        )


Check = Callable[[Read], Any]


def is_(name: str) -> Check:
    """Tell that the setting is what was given; that it has an effect is shown where that is at home."""
    return lambda read: getattr(read.settings, name)


# For each name: what the file says (a mapping, or Python), what is looked at, and what is expected.
CASES: dict[str, list[tuple[dict[str, Any] | str, Check, Any]]] = {
    "base_experiment_path": [
        (
            {"base_experiment_path": "exp", "datasplit_path": "split.csv"},
            lambda read: [
                Path(path).relative_to(Path.cwd()).as_posix()
                for path in (read.settings.model_save_path, read.settings.logs_save_path, read.settings.datasplit_path)
            ],
            ["exp/checkpoints/{model_name}_{epoch}.pth", "exp/tensorboard/{model_name}", "exp/split.csv"],
        ),
    ],
    "model_save_path": [
        (
            "from pathlib import Path\nmodel_save_path = Path('kept') / 'mine_{epoch}.pth'",
            lambda read: checkpoint_path(read.settings.model_save_path, "x", 3).as_posix(),
            "kept/mine_3.pth",
        ),
    ],
    "logs_save_path": [({"logs_save_path": "seen/{model_name}"}, is_("logs_save_path"), "seen/{model_name}")],
    "datasplit_path": [
        (
            {"datasplit_path": "new.csv", "validation_prob": 0.4},
            lambda read: (read.rows(), read.settings.datasplit_path.is_file())[1],
            True,
        ),
    ],
    "validation_prob": [
        (
            {"datasplit_path": "new.csv", "validation_prob": share},
            lambda read: list(read.rows().values()).count("validate"),
            expected,
        )
        for share, expected in ((0, 0), (0.3, 1), (0.6, 2))
    ],
    "learning_rate": [({"learning_rate": 0.25, "epochs": 1}, lambda read: read.rates, [0.25])],
    "batch_size": [({"batch_size": 3}, lambda read: len(read.batch["input"]), 3)],
    "input_array_info": [
        (
            {"input_array_info": {"shape": [1, 24, 16], "scale": [8, 8, 8]}, "model_name": "2d_unet_s"},
            lambda read: tuple(read.batch["input"].shape),
            (2, 1, 24, 16),
        ),
        (
            {"input_array_info": {"raw": CUBE, "around": {"shape": [8, 8, 8], "scale": [32, 32, 32]}}},
            lambda read: {name: tuple(read.batch[name].shape) for name in ("input", "around")},
            {"input": (2, 1, 16, 16, 16), "around": (2, 1, 8, 8, 8)},
        ),
    ],
    "target_array_info": [
        (
            {"target_array_info": {"shape": [8, 8, 8], "scale": [8, 8, 8]}},
            lambda read: tuple(read.batch["output"].shape),
            (2, 2, 8, 8, 8),
        ),
        (
            {"target_array_info": {"labels": CUBE, "inner": {"shape": [8, 8, 8], "scale": [8, 8, 8]}}},
            lambda read: [read.batch[name].shape[2] for name in ("output", "inner")],
            [16, 8],
        ),
    ],
    "epochs": [({"epochs": 3}, lambda read: len(read.rates), 3)],
    "iterations_per_epoch": [({"iterations_per_epoch": 5}, lambda read: len(read.loaders.train), 5)],
    "random_seed": [
        (
            {"random_seed": 7},
            lambda read: [torch.equal(read.batch["input"], make(read, random_seed=seed)["input"]) for seed in (7, 8)],
            [True, False],
        )
    ],
    "classes": [({"classes": ["ld"]}, lambda read: read.batch["output"].shape[1], 1)],
    "model_name": [
        ({"model_name": "3d_unet_s"}, lambda read: describe_model(build_network(read.settings)).name, "3d_unet_s")
    ],
    "model_to_load": [({"model_to_load": "other"}, is_("model_to_load"), "other")],
    "model_kwargs": [
        (
            {"model_kwargs": {"width": 3, "depth": 2}},
            lambda read: next(build_network(read.settings).parameters()).shape[0],
            3,
        )
    ],
    "model": [(NETWORK, lambda read: build_network(read.settings) is read.settings.model, True)],
    "load_model": [({"load_model": name}, is_("load_model"), name) for name in ("latest", "best")],
    "spatial_transforms": [
        (
            {
                "input_array_info": {"shape": [1, 16, 16], "scale": [8, 8, 8]},
                "model_name": "2d_unet_s",
                # The official default, for planes.
                "spatial_transforms": {
                    "mirror": {"axes": {"x": 0.5, "y": 0.5}},
                    "transpose": {"axes": ["x", "y"]},
                    "rotate": {"axes": {"x": [-180, 180], "y": [-180, 180]}},
                },
            },
            lambda read: torch.equal(read.batch["input"], make(read, spatial_transforms={})["input"]),
            False,
        )
    ],
    "validation_time_limit": [
        # Such a validation is of random places; the limit itself is shown where epochs are.
        (
            {"validation_time_limit": 60},
            lambda read: order(read) == order(replaced(read, validation_time_limit=None)),
            False,
        )
    ],
    "validation_batch_limit": [({"validation_batch_limit": 1}, lambda read: len(read.loaders.validation), 1)],
    "device": [
        ("import torch\ndevice = torch.device('cpu')", is_("device"), "cpu"),
        ("device = None", is_("device"), None),
    ],
    "use_s3": [
        (
            {"use_s3": True},
            lambda read: (read.rows(), read.log.messages[0].partition(":")[0])[1],
            "use_s3 is left out",
        ),
    ],
    "criterion": [
        ("import torch\ncriterion = torch.nn.MSELoss", lambda read: read.losses(0.5), 0.25),
        ({"criterion": "bce", "weight_loss": False}, lambda read: round(read.losses(0.0), 4), 0.6931),
    ],
    "criterion_kwargs": [
        (
            "import torch\ncriterion = torch.nn.SmoothL1Loss\ncriterion_kwargs = {'beta': 0.25}",
            lambda read: read.losses(0.0),
            0.875,
        )
    ],
    "optimizer": [
        (
            f"{NETWORK}\noptimizer = torch.optim.SGD(model.parameters(), lr=0.5)",
            lambda read: (
                build_optimizer(read.settings, build_network(read.settings)) is read.settings.optimizer,
                [line.partition(":")[0] for line in left_out(read.settings)],
            ),
            (True, ["model_kwargs is left out", "learning_rate = 0.0001 is left out"]),
        ),
        (
            "import torch\noptimizer = torch.optim.Adagrad",
            lambda read: type(build_optimizer(read.settings, build_network(read.settings))).__name__,
            "Adagrad",
        ),
    ],
    "scheduler": [
        ("scheduler = None\nepochs = 2", lambda read: read.rates, [1e-4, 1e-4]),
        ({"scheduler": "cosine", "epochs": 2}, lambda read: read.rates, [1e-4, 5e-5]),
        (
            f"{NETWORK}\noptimizer = torch.optim.SGD(model.parameters(), lr=0.5)\nepochs = 2\n"
            "scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)",
            lambda read: read.rates,
            [0.5, 0.25],
        ),
    ],
    "scheduler_kwargs": [
        (
            "import torch\nscheduler = torch.optim.lr_scheduler.StepLR\nepochs = 3\n"
            "scheduler_kwargs = {'step_size': 2, 'gamma': 0.1}",
            lambda read: read.rates,
            [1e-4, 1e-4, 1e-5],
        ),
        (
            f"{NETWORK}\noptimizer = torch.optim.SGD(model.parameters(), lr=1e-4)\nscheduler_kwargs = {{'gamma': 3}}\n"
            "model_kwargs = {}\nscheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)",
            lambda read: list(left_out(read.settings)),
            ["scheduler_kwargs is left out: scheduler is made already"],
        ),
    ],
    "filter_by_scale": [
        ({"filter_by_scale": given}, lambda read: len(read.rows()), 3) for given in (True, False, 8, [8, 8, 8.0])
    ],
    "force_all_classes": [
        ({"classes": ["mito", "ld"], "force_all_classes": given}, lambda read: uses(read), expected)
        for given, expected in (
            (False, "train train validate"),
            (True, "train train"),
            ("validate", "train train train"),
            ("train", "train train validate"),
        )
    ],
    "gradient_accumulation_steps": [
        # Half of the steps are done after one of two epochs, however many batches a step takes.
        (
            {"gradient_accumulation_steps": 2, "epochs": 2, "scheduler": "cosine", "iterations_per_epoch": 3},
            lambda read: read.rates,
            [1e-4, 5e-5],
        )
    ],
    "max_grad_norm": [({"max_grad_norm": 1.0}, is_("max_grad_norm"), 1.0)],
    "train_raw_value_transforms": [
        (
            "import torch\ntrain_raw_value_transforms = lambda raw: raw * 0 + torch.rand(())",
            lambda read: float(read.batch["input"][0].std()),
            0.0,
        )
    ],
    "val_raw_value_transforms": [
        (
            "def val_raw_value_transforms(raw):\n    return raw.nan_to_num(0)",
            lambda read: read.loaders.validation.patches.values.raw is read.settings.val_raw_value_transforms,
            True,
        )
    ],
    "target_value_transforms": [
        (
            "target_value_transforms = lambda target: target * 0 + 0.5",
            lambda read: set(read.batch["output"].unique().tolist()),
            {0.5},
        )
    ],
    "use_mutual_exclusion": [
        (
            {"classes": ["ld", "nuc"], "use_mutual_exclusion": given},
            lambda read: bool((read.batch["output"][:, 1] == 0).any()),
            given,
        )
        for given in (True, False)
    ],
    "weighted_sampler": [
        (
            {"weighted_sampler": given},
            lambda read: read.loaders.train.patches.draws.foreground_share,
            expected,
        )
        for given, expected in ((True, 2 / 3), (False, 0.0))
    ],
    "weight_loss": [
        # Also of a criterion that is given as a class.
        (
            f"import torch\ncriterion = torch.nn.BCEWithLogitsLoss\nweight_loss = {given}",
            lambda read: read.losses(0.0) > 0.7,
            given,
        )
        for given in (True, False)
    ],
    "dataloader_kwargs": [
        (
            {"dataloader_kwargs": {"num_workers": 3, "pin_memory": True, "prefetch_factor": 4}},
            lambda read: (read.settings.num_workers, [line.split()[1] for line in left_out(read.settings)]),
            (3, ["pin_memory", "prefetch_factor"]),
        ),
    ],
    "debug_memory": [({"debug_memory": True}, is_("debug_memory"), True)],
    "low_is_best": [
        # The official toolbox goes by the validation loss.
        ({"low_is_best": True}, lambda read: (read.settings.best_metric, better(read, "loss")), ("loss", 0.1)),
        ({"low_is_best": False}, lambda read: (read.settings.best_metric, better(read, "iou")), ("iou", 0.9)),
        ({"low_is_best": True, "best_metric": "loss"}, is_("lower_is_better"), True),
    ],
    "smoothing_window": [({"smoothing_window": 3}, is_("smoothing_window"), 3)],
    "random_validation": [
        (
            {"random_validation": True},
            lambda read: order(read) == order(replaced(read, random_validation=False)),
            False,
        )
    ],
}


def replaced(read: Read, **changes: Any) -> Read:
    return replace(read, settings=replace(read.settings, **changes))


def make(read: Read, **changes: Any) -> dict[str, torch.Tensor]:
    return replaced(read, **changes).batch


def order(read: Read) -> list[int]:
    patches = read.loaders.validation.patches
    assert isinstance(patches, ValidationPatches)
    return [round(float(patches[index]["input"].sum()), 4) for index in range(8)]


def uses(read: Read) -> str:
    """What crops are used for where one that validates lacks a class."""
    rows = read_datasplit(read.config.path("datasplit"))
    lacking = [row if row.usage == "train" else replace_row(row) for row in rows]
    path = read.folder / "split.csv"
    write_datasplit(path, lacking)
    return " ".join(replaced(read, datasplit_path=path).rows().values())


def replace_row(row: SplitRow) -> SplitRow:
    return replace(row, classes=("mito",))


def better(read: Read, metric: str) -> float:
    """Return the better one of two values."""

    def record(value: float) -> EpochRecord:
        validation = ValidationScores(loss=value, values={"iou": value, "dice": value})
        return EpochRecord(epoch=1, loss=0.5, learning_rate=1, validation=validation, seconds=1, loading_seconds=0)

    assert read.settings.best_metric == metric
    return max((0.1, 0.9), key=lambda value: score_of(read.settings, record(value)))


def cases() -> list[Any]:
    return [
        pytest.param(*entry, id=f"{key}-{number}")
        for key, entries in CASES.items()
        for number, entry in enumerate(entries)
    ]


def test_all_names_are_looked_at():
    assert list(CASES) == KEYS.split()


@pytest.mark.parametrize(("says", "check", "expected"), cases())
def test_a_name_has_its_effect_or_its_line(says, check, expected, data_folder, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    values = {**COMMON, "datasplit_path": str(data_folder.config.path("datasplit"))}
    values |= {} if isinstance(says, str) else says
    text = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    Path("experiment.py").write_text(f"{text}\n{says if isinstance(says, str) else ''}\n")
    settings = read_train_settings("experiment.py")
    if not isinstance(says, str):
        Path("experiment.toml").write_text(tomli_w.dumps(values))
        assert read_train_settings("experiment.toml") == settings
    with caplog.at_level(logging.WARNING):
        assert check(Read(settings, data_folder.config, tmp_path, caplog)) == expected


def test_the_environment_says_how_often_memory_is_logged(monkeypatch):
    assert TrainSettings(classes=["mito"]).memory_log_steps == 100
    monkeypatch.setenv("MEMORY_LOG_STEPS", "7")
    assert TrainSettings(classes=["mito"]).memory_log_steps == 7
    assert TrainSettings(classes=["mito"], memory_log_steps=3).memory_log_steps == 3
    monkeypatch.setenv("MEMORY_LOG_STEPS", "often")
    with pytest.raises(ProblemsError, match="memory_log_steps: expected a whole number, got 'often'"):
        TrainSettings(classes=["mito"])


def test_streaming_from_the_bucket_makes_a_split_there(data_folder, tmp_path, monkeypatch):
    asked = []

    def make_datasplit(where, options, *, table):
        asked.append((where.raw, options.validation_share))
        raise RuntimeError("asked")

    monkeypatch.setattr("csc_train.datasplit.make_datasplit", make_datasplit)
    settings = TrainSettings(classes=["mito"], use_s3=True, datasplit_path=tmp_path / "new.csv")
    with pytest.raises(RuntimeError, match="asked"):
        experiment_rows(settings, data_folder.config)
    assert asked == [(f"s3://{data_folder.config.bucket}/{data_folder.config.raw}", 0.15)]


def test_defaults_are_the_official_ones_but_for_those_in_the_table():
    """examples/README.md has the table."""
    settings = TrainSettings(classes=["nuc"])
    assert (settings.validation_prob, settings.learning_rate, settings.batch_size) == (0.15, 1e-4, 8)
    assert (settings.epochs, settings.iterations_per_epoch, settings.random_seed) == (1000, 1000, 42)
    assert settings.input_array_info.to_plain() == {"shape": [1, 128, 128], "scale": [8, 8, 8]}
    assert (settings.model_name, settings.load_model, settings.optimizer) == ("2d_unet", "latest", "radam")
    assert (settings.criterion, settings.scheduler, settings.max_grad_norm) == ("bce", "constant", None)
    assert (settings.weight_loss, settings.weighted_sampler, settings.use_mutual_exclusion) == (True, True, False)
    assert (settings.use_s3, settings.filter_by_scale, settings.gradient_accumulation_steps) == (False, False, 1)
    assert settings.validation_time_limit is settings.validation_batch_limit is settings.device is None
    optimizer = build_optimizer(settings, nn.Linear(1, 1))
    assert (type(optimizer).__name__, optimizer.defaults["decoupled_weight_decay"]) == ("RAdam", True)
