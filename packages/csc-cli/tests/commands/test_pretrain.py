from pathlib import Path

import pytest

from csc_train import EpochRecord, Rehearsal, TrainResult


@pytest.fixture
def asked(monkeypatch):
    """Return what a run was asked for, in place of running; its ``result`` is what it gives."""
    found = {"result": TrainResult()}
    Path("x.toml").write_text('model_name = "small"')

    def pretrain(experiment, *, config, **overrides):
        found.update(overrides, experiment=str(experiment.path), data=config.data)
        return found["result"]

    monkeypatch.setattr("csc_train.pretrain", pretrain, raising=False)
    return found


def test_settings_and_options_go_before_the_files(run, asked):
    run(
        "pretrain",
        "x.toml",
        "--set",
        "mask_share=0.4",
        "--set",
        "pretraining={ema = 0.9}",
        "--epochs",
        "3",
        "--data",
        "d",
    )
    given = {"mask_share": 0.4, "pretraining": {"ema": 0.9}, "epochs": 3}
    assert asked == {"result": asked["result"], "experiment": "x.toml", "data": "d", **given}


def test_it_says_what_it_did_and_what_comes_next(run, asked):
    record = EpochRecord(epoch=1, loss=0.5, learning_rate=1e-3, validation=None, seconds=1.0, loading_seconds=0.0)
    file = Path("checkpoints/small_pretraining_1.pth")
    asked["result"] = TrainResult(
        model_name="small_pretraining", latest_checkpoint=file, records=(record,), seconds=1.4
    )
    assert run("pretrain", "x.toml").output.splitlines() == [
        "pretrained 1 epoch in 1 s; checkpoint checkpoints/small_pretraining_1.pth",
        "next: csc train x.toml --set model_to_load=small_pretraining, for all weights but the head; or "
        "--set pretrained=checkpoints/small_pretraining_1.pth, for the encoder",
    ]
    asked["result"] = TrainResult(model_name="small_pretraining", latest_checkpoint=file, resumed_from=file)
    first, second = run("pretrain", "x.toml").output.splitlines()
    assert first == "nothing to do: checkpoints/small_pretraining_1.pth is of the last epoch"
    assert second.startswith("next: csc train x.toml")


def test_a_dry_run_prints_what_a_run_would_take(run, asked, monkeypatch):
    given = {}

    def rehearse(experiment, *, config, **overrides):
        given.update(overrides)
        return Rehearsal(lines=["raw: 2 volumes"])

    monkeypatch.setattr("csc_train.rehearse_pretraining", rehearse, raising=False)
    lines = run("pretrain", "x.toml", "--dry-run", "--epochs", "2").output.splitlines()
    assert lines == ["raw: 2 volumes", "next: the same without --dry-run"]
    assert given == {"epochs": 2}
    assert "experiment" not in asked


def test_its_settings_are_listed(run):
    text = run("settings", "pretrain").output
    for name in ("raw_volumes = ('*',)", "mask_share = 0.4", "mask_size = 24.0", "pretraining = {}"):
        assert name in text
    assert "\nlearning_rate" not in text
