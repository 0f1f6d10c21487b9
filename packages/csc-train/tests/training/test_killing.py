"""A process that is killed at any moment, by a signal that it cannot take, ends as one that was not."""

from __future__ import annotations

import multiprocessing
import random
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from csc_train import train
from csc_train.logs.run_files import read_rows

# Run by the name of a builtin: modules of tests cannot be imported by other processes.
SCRIPT = """
import torch
from csc_train import train
torch.set_num_threads(1)
train(settings, progress=lambda event: told.send((event.stage, event.epoch, event.iteration)))
"""


def run_and_kill(settings, after, delay):
    """Train in a process that is killed so many seconds after so many batches; return whether it was."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["csc_train.training.train"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=exec, args=(SCRIPT, {"settings": settings, "told": theirs}))
    process.start()
    theirs.close()
    killed, seen = False, 0
    try:
        while True:
            seen += ours.recv()[0] == "train"
            if seen >= after and not killed:
                time.sleep(delay)
                process.kill()
                killed = True
    except EOFError:
        process.join(60)
    assert process.exitcode == (-9 if killed else 0)
    return killed


def check_kills(whole, parts, count, seed):
    """Kill a run so many times, let it end, and hold it against one that was never killed."""
    rng = random.Random(seed)
    resume = Path(parts.model_save_path.format(model_name="small", epoch="resume"))
    train(whole)
    killed = sum(run_and_kill(parts, after=rng.randint(1, 3), delay=rng.uniform(0, 0.01)) for _ in range(count))
    assert killed == count
    assert resume.is_file()
    train(parts)
    rows = [read_rows(Path(each.logs_save_path) / "metrics.csv") for each in (whole, parts)]
    assert [{n: (row["loss"], row["iou"]) for n, row in found.items()} for found in rows[:1]] == [
        {n: (row["loss"], row["iou"]) for n, row in found.items()} for found in rows[1:]
    ]
    logs = EventAccumulator(parts.logs_save_path)
    logs.Reload()
    steps = whole.epochs * whole.iterations_per_epoch
    assert [event.step for event in logs.Scalars("loss")] == list(range(1, steps + 1))


@pytest.mark.slow
def test_a_killed_run_ends_as_one_that_was_not(in_folder, assert_same_end):
    choices = {"iterations_per_epoch": 8, "epochs": 2, "checkpoint_minutes": 1e-9, "images": 0, "ema": 0.9}
    whole, parts = in_folder("whole", **choices), in_folder("parts", **choices)
    check_kills(whole, parts, count=3, seed=0)
    assert_same_end(whole, parts)
    assert not list(Path(parts.model_save_path).parent.glob(".*tmp*"))
