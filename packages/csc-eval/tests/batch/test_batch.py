"""Batches: rankings, resuming, and a folder that is watched."""

import csv
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_data.executors.processes import ProcessWorkers
from csc_eval.batch.entries import BatchEntry, BatchOutcome, read_batch
from csc_eval.batch.ranking import rank, ranking_rows, write_csv
from csc_eval.batch.scoring import BatchScoring, score_batch
from csc_eval.batch.watching import Watch, keep_watching
from csc_eval.command.group import csc_eval as command


def scored(folder, **how):
    with ThreadPoolExecutor(1) as executor:
        return score_batch(
            read_batch(folder / "batch.csv"), BatchScoring(truth=folder / "t.zarr", **how), executor=executor
        )


def test_a_batch_is_ranked_and_what_has_no_score_comes_last(folder, tmp_path):
    ranking = rank(scored(folder))
    assert [(one.rank, one.evaluation_id) for one in ranking.entries] == [(1, "8"), (2, "7"), (3, "=10"), (None, "9")]
    assert "broken.zip" in ranking.entries[-1].problem
    assert ranking.entries[0].ranks == (1, 1)
    assert ranking.entries[0].interval.low <= ranking.comparison.standings[0].score <= ranking.entries[0].interval.high
    write_csv(ranking, tmp_path / "out/ranking.csv")
    rows = list(csv.DictReader((tmp_path / "out/ranking.csv").read_text("utf-8").splitlines()))
    assert [row["evaluation_id"] for row in rows] == ["8", "7", "'=10", "9"]  # no spreadsheet takes it for a formula
    assert float(rows[0]["semantic"]) == ranking.entries[0].semantic


def test_places_that_the_crops_do_not_tell_apart_are_said(folder):
    result = scored(folder)[0].result
    twins = [BatchOutcome(entry=BatchEntry(data_path=folder, evaluation_id=name), result=result) for name in ("x", "y")]
    ranking = rank(twins)
    assert [(one.rank, one.like) for one in ranking.entries] == [(1, ("y",)), (1, ("x",))]
    assert [row[7] for row in ranking_rows(ranking)] == ["y", "x"]
    assert rank(twins[:1]).entries[0].rank == 1
    assert rank([]).entries == ()


def test_a_batch_that_is_resumed_scores_only_what_changed(folder, monkeypatch):
    first = scored(folder, resume=True)
    assert (folder / "in/eval_8.scores").is_file()
    counted = []
    score = "csc_eval.running.execution.score_label"
    import csc_eval.running.execution as execution

    original = execution.score_label
    monkeypatch.setattr(score, lambda task: counted.append(task.key) or original(task))
    again = scored(folder, resume=True)
    assert counted == []
    assert [o.result and o.result.overall_score for o in again] == [o.result and o.result.overall_score for o in first]
    scored(folder)
    assert len(counted) == 12


def test_one_id_for_two_submissions_is_an_error(folder):
    (folder / "batch.csv").write_text("data_path,evaluation_id\nin/a.zip,1\nx/a.zip,1\n")
    with pytest.raises(InvalidArgumentError, match="one evaluation_id to two"):
        read_batch(folder / "batch.csv")
    (folder / "batch.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidArgumentError, match="is not a CSV"):
        read_batch(folder / "batch.csv")


def test_the_command_prints_and_writes_the_ranking(folder):
    pytest.importorskip("jinja2")
    places = {name: folder / "out" / f"ranking.{name}" for name in ("csv", "json", "html")}
    arguments = ["-c", folder / "batch.csv", "-t", folder / "t.zarr", "--table", places["csv"]]
    arguments += ["--json", places["json"]]
    done = CliRunner().invoke(command, ["batch", *map(str, arguments), "--report", str(places["html"])])
    assert done.exit_code == 1, done.output  # one is broken
    assert "3 of 4 scored without a problem" in done.output
    assert all(place.is_file() for place in places.values())
    document = json.loads(places["json"].read_text("utf-8"))
    assert [one["evaluation_id"] for one in document["entries"]] == ["8", "7", "=10", "9"]
    assert document["comparison"]["overall"]["pairs"][0]["one"] == "8"
    page = places["html"].read_text("utf-8")
    assert "What could not be scored" in page
    assert all(f">{name}</td>" in page for name in ("a.zip", "b.zip", "c.zarr"))  # whose the numbers are
    assert str(folder / "t.zarr") in page
    assert document["time"] in page


@pytest.mark.parametrize("truth", ["nowhere.zarr", "empty.zarr"])
def test_a_truth_that_is_not_there_is_no_submissions_problem(folder, truth):
    (folder / "empty.zarr").mkdir()
    for arguments in (["batch", "-c", folder / "batch.csv"], ["watch", folder / "in"]):
        done = CliRunner().invoke(command, [*map(str, arguments), "-t", str(folder / truth)])
        assert done.exit_code == 1
        assert f"Error: {'the truth ' if 'empty' in truth else ''}{folder / truth}" in done.output
    assert not list((folder / "in").glob("eval_*"))


@pytest.mark.parametrize(("system", "payer"), [("slurm", "account"), ("lsf", "project")])
def test_jobs_of_a_cluster_are_as_they_are_asked_for(folder, monkeypatch, system, payer):
    asked = []

    @contextmanager
    def start_jobs(name, *, jobs, options):
        asked.append((name, jobs, options))
        with ThreadPoolExecutor(1) as executor:
            yield executor

    monkeypatch.setattr("csc_data.executors.cluster.start_jobs", start_jobs)
    arguments = [
        "-c",
        folder / "batch.csv",
        "-t",
        folder / "t.zarr",
        "-n",
        "3",
        "--cluster",
        system,
        "--queue",
        "short",
    ]
    arguments += ["--account", "lab", "--walltime", "02:00", "--log-folder", "logs", "--job-memory", "4GB"]
    done = CliRunner().invoke(command, ["batch", *map(str, arguments)])
    assert "3 of 4 scored" in done.output
    jobs = {"cores": 1, "memory": "4GB", "queue": "short", payer: "lab", "walltime": "02:00", "log_directory": "logs"}
    assert asked == [(system, 3, jobs)]


def test_what_a_cluster_loses_for_good_is_named(folder):
    worker = SimpleNamespace(address="tcp://node:1")
    killed = pytest.importorskip("distributed").KilledWorker("score_entry-1", last_worker=worker, allowed_failures=3)

    class Losing(ThreadPoolExecutor):
        def submit(self, function, entry, how):
            future = Future()
            future.set_exception(killed if entry.evaluation_id == "7" else CancelledError())
            return future if entry.evaluation_id in "78" else super().submit(function, entry, how)

    with Losing(1) as executor:
        done = score_batch(read_batch(folder / "batch.csv"), BatchScoring(truth=folder / "t.zarr"), executor=executor)
    assert [outcome.result is None for outcome in done] == [True, True, True, False]
    assert "score_entry-1" in done[0].problem
    assert done[1].problem == "the cluster has ended"


def watched(watch, folder, rounds=2):
    """Look some times, and return what was scored."""
    stop, found, looks = threading.Event(), [], []
    look = watch.look

    def counted():
        looks.append(1)
        if len(looks) >= rounds:
            stop.set()
        return look()

    watch.look = counted
    watch.every = 0
    keep_watching(
        watch,
        BatchScoring(truth=folder / "t.zarr", resume=True),
        lambda: ThreadPoolExecutor(1),
        stop=stop,
        report=found.extend,
    )
    watch.look = look
    return [outcome.entry.evaluation_id for outcome in found]


def test_what_lands_in_a_folder_is_scored_once(folder):
    place = folder / "in"
    assert watched(Watch(place), folder, 1) == []  # it might still grow
    assert watched(Watch(place), folder) == ["a", "b", "broken", "c"]
    assert "broken.zip" in (place / "eval_broken.failed").read_text()
    watch = Watch(place)
    assert watched(watch, folder, 3) == []
    assert sorted(o.entry.evaluation_id for o in watch.outcomes()) == ["a", "b", "broken", "c"]
    time.sleep(0.02)
    shutil.copy2(place / "b.zip", place / "broken.zip")  # with its old time of change
    assert watched(watch, folder, 3) == ["broken"]
    assert not (place / "eval_broken.failed").exists()
    assert rank(list(watch.outcomes())).entries[1].like


def test_a_watch_that_was_ended_goes_on_where_it_was(folder, monkeypatch):
    import csc_eval.running.execution as execution

    counted, score = [], execution.score_label

    def ended_once(task):
        counted.append(f"{task.submission.name.rpartition('/')[2]}/{task.crop}")
        if len(counted) == 7:
            raise KeyboardInterrupt
        return score(task)

    monkeypatch.setattr(execution, "score_label", ended_once)
    with pytest.raises(KeyboardInterrupt):
        watched(Watch(folder / "in"), folder)
    assert (folder / "in/eval_a.results").is_file()
    assert "a" not in watched(Watch(folder / "in"), folder)
    assert sorted(o.entry.evaluation_id for o in Watch(folder / "in").outcomes()) == ["a", "b", "broken", "c"]
    assert counted.pop(6) == "b.zip/crop3"  # the one that was under way
    assert sorted(counted) == sorted(f"{name}/crop{n}" for name in ("a.zip", "b.zip", "c.zarr") for n in range(1, 5))


def test_what_still_grows_is_left(folder):
    watch = Watch(folder / "in")
    watch.look()
    for size in range(3):
        with (folder / "in/broken.zip").open("ab") as file:
            file.write(b"x" * (size + 1))
        assert "broken" not in [entry.evaluation_id for entry in watch.look()]
    assert "broken" in [entry.evaluation_id for entry in watch.look()]
    with pytest.raises(MissingDataError, match="there is no folder"):
        Watch(folder / "nowhere")


@pytest.mark.slow
def test_a_submission_that_kills_its_process_loses_itself_alone(folder, monkeypatch):
    (folder / "kills.py").write_text(
        "import os, signal\n"
        "from csc_eval.batch import scoring\n"
        "score = scoring.score_entry\n"
        "def score_or_die(entry, how):\n"
        "    if entry.evaluation_id == '7':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return score(entry, how)\n"
    )
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))  # where the processes find it
    monkeypatch.setattr("csc_eval.batch.scoring.score_entry", importlib.import_module("kills").score_or_die)
    with ProcessWorkers(1, threads=1) as executor:
        done = score_batch(read_batch(folder / "batch.csv"), BatchScoring(truth=folder / "t.zarr"), executor=executor)
    del sys.modules["kills"]
    assert [outcome.result is not None for outcome in done] == [False, True, False, True]
    assert "SIGKILL" in done[0].problem


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM")
def test_the_watch_ends_with_sigterm_and_has_written_the_ranking(folder):
    code = "import sys; from csc_eval.command.group import main; main()"
    arguments = ["watch", folder / "in", "-t", folder / "t.zarr", "--every", "0.1", "--table", folder / "ranking.csv"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment,
    ) as process:  # fmt: skip
        until = time.monotonic() + 100
        while not (folder / "ranking.csv").exists() and time.monotonic() < until:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert output.startswith("watching ")
    rows = list(csv.DictReader((folder / "ranking.csv").read_text("utf-8").splitlines()))
    assert [row["evaluation_id"] for row in rows] == ["a", "b", "c", "broken"]
