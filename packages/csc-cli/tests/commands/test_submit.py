"""``csc submit``: what its options ask for, and what it says; full disks and interrupted runs of the single stages."""

from __future__ import annotations

import errno

import pytest
import zarr

from csc_cli.submission import SubmitResult


@pytest.fixture
def asked(monkeypatch):
    """Return what a submission was asked for, in place of making it."""
    found = {}

    def submit(experiment, crops, *, config, options, watch):
        found.update(experiment=experiment, crops=crops, options=options)
        return SubmitResult(archive=None, crops=(), validation=None, score=None, seconds=0.0)

    monkeypatch.setattr("csc_cli.submission.submit", submit)
    return found


def test_options_say_what_is_made_where_and_by_whom(run, asked, tmp_path):
    result = run("submit", "x.toml", "-c", "557,558", "--classes", "er", "--disk", "20GB", "--keep", "-w", "3", "-O")
    assert result.exit_code == 1
    assert "nothing could be packed" in result.output
    options = asked["options"]
    assert (asked["crops"], options.classes, options.disk, options.workers) == (["557", "558"], ["er"], 20 * 10**9, 3)
    assert (options.keep, options.existing, options.execution) == (True, "overwrite", None)
    run(
        "submit",
        "x.toml",
        "--scheduler",
        "tcp://x:1",
        "--checkpoint",
        "latest",
        "--dtype",
        "uint8",
        "--set",
        "overlap=0",
    )
    assert asked["options"].execution.scheduler == "tcp://x:1"
    assert asked["options"].given == {"overlap": 0, "checkpoint": "latest", "output_dtype": "uint8"}
    run("submit", "x.toml", "--devices", "0,2", "-o", "mine.zarr", "--disk", "1.5 GiB")
    assert asked["options"].execution.devices == ("0", "2")
    assert (asked["options"].destination.name, asked["options"].disk) == ("mine.zarr", 3 * 2**29)


@pytest.mark.parametrize("given", [("--disk", "much"), ("--disk", "0"), ("-w", "0")])
def test_wrong_use_is_told(run, asked, given):
    assert run("submit", "x.toml", *given).exit_code == 2


def test_a_dry_run_tells_what_each_crop_takes_and_writes_nothing(run, world):
    command = ("submit", str(world.experiment), "--data", world.config.data)
    result = run(*command, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "  a/crop1  24x26x28        2" in result.output
    assert "to do: 2 crops, " in result.output
    assert not world.work.exists()
    result = run(*command, "--disk", "50kB", "--dry-run")
    assert result.exit_code == 1
    assert "fewer classes at a time" in result.output
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert "a/crop2: 2 classes packed, " in result.output
    assert "1 place: is missing (it scores 0): crop1/nuc" in result.output
    assert f"to upload: {world.archive} (" in result.output
    assert "4 of 5 labels" in result.output
    again = run(*command)
    assert "  packed\n" in again.output
    assert "to do: 0 crops" in again.output


COMMANDS = {
    "predict": "predictions",
    "process": "processed",
    "pack-results": "submission.zarr",
    "submit": "submission.zarr",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_a_line_and_the_same_command_goes_on(run, world, name, monkeypatch):
    data, experiment = ("--data", world.config.data), (str(world.experiment),)
    stages = list(COMMANDS)[: list(COMMANDS).index(name)] if name != "submit" else []
    for stage in stages:
        assert run(stage, *experiment, *data).exit_code == 0
    command = (name, *data) if name == "pack-results" else (name, *experiment, *data)
    write, calls = zarr.storage.DirectoryStore._tofile, []

    def full(values, place):
        if COMMANDS[name] in place:
            calls.append(place)
            if len(calls) > 4:
                raise OSError(errno.ENOSPC, "No space left on device")
        return write(values, place)

    monkeypatch.setattr(zarr.storage.DirectoryStore, "_tofile", staticmethod(full))
    result = run(*command)
    assert result.exit_code == 1
    [line] = [line for line in result.output.splitlines() if line.startswith("Error")]
    assert "no space is left on the disk of " in line
    assert result.output.endswith(f"{line}\n")
    monkeypatch.undo()
    result = run(*command)
    assert result.exit_code == 0, result.output


def test_what_an_interrupted_prediction_left_is_neither_processed_nor_packed(run, world, monkeypatch):
    data, experiment = ("--data", world.config.data), str(world.experiment)
    monkeypatch.setattr("csc_data.blocks.ledger.Ledger.complete", _end)
    with pytest.raises(KilledError):
        run("predict", experiment, "-c", "1", *data)
    monkeypatch.undo()
    result = run("process", experiment, *data)
    assert result.exit_code == 1
    assert "failed: a/crop1/mito: " in result.output
    assert "is not finished; run `csc predict` again" in result.output
    for source in ("processed", "predictions"):
        result = run("pack-results", "-i", source, *data)
        assert result.exit_code == 1
        assert (
            "csc process" in result.output
            if source == "processed"
            else "not finished; run `csc predict`" in result.output
        )
    assert not world.archive.exists()


class KilledError(BaseException):
    """Ends a run as nothing of ours would."""


def _end(ledger):
    raise KilledError
