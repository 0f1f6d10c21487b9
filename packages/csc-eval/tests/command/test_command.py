"""The commands as people type them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from csc_data.storage.atomic import UnwritableFileError
from csc_eval.command.options import batch_eval, evaluate

PLACE = {"voxel_size": [8.0] * 3, "translation": [0.0] * 3}


@pytest.fixture
def case(golden, tmp_path):
    return golden.write("e10_touching_same_ids", tmp_path)


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("CSC_DATA", "MAX_WORKERS", "MAX_UNCOMPRESSED_SIZE", "FINAL_INSTANCE_RATIO_CUTOFF"):
        monkeypatch.delenv(name, raising=False)

    def invoke(command, *arguments):
        return CliRunner().invoke(command, [str(argument) for argument in arguments])

    return invoke


def test_evaluate_prints_a_table_and_writes_the_files(case, run, tmp_path):
    result = run(evaluate, "-s", case[0], "-t", case[1], "-r", tmp_path / "out/r.json", "--metrics", "ap,vi_split")
    assert result.exit_code == 0, result.output
    line = next(line for line in result.output.splitlines() if line.startswith("cell"))
    assert "0.9851" in line or float(line.split()[1]) == 1.0
    assert "crop557" in line
    assert "vi_split" in result.output
    assert json.loads((tmp_path / "out/r.json").read_text())["label_scores"]["cell"]["f1"] == 1.0
    assert (tmp_path / "out/r_extended.json").exists()


def test_a_place_that_results_cannot_be_written_to_is_told_before_scoring(case, run, tmp_path, monkeypatch):
    monkeypatch.setattr("csc_eval.running.submission.score_submission", None)
    (tmp_path / "file").touch()
    (tmp_path / "null.json").symlink_to("/dev/null")
    (tmp_path / "loop.json").symlink_to("loop.json")
    places = {
        ".": "is a folder",
        "file/r.json": "is a file",
        "null.json": "device",
        "loop.json": "results cannot go to",
    }
    for place, words in {**places, "a" * 300: "results cannot go to", "\0": "results cannot go to"}.items():
        result = run(evaluate, "-s", case[0], "-t", case[1], "-r", place)
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
        assert words in result.stderr
    assert (tmp_path / "null.json").is_symlink()


def test_the_table_is_printed_where_the_results_cannot_be_written(case, run, tmp_path, monkeypatch):
    def full(path, text):
        raise UnwritableFileError(f"{path} cannot be written (no space): choose another place")

    monkeypatch.setattr("csc_eval.running.submission.replace_text", full)
    result = run(evaluate, "-s", case[0], "-t", case[1], "-r", tmp_path / "r.json")
    assert result.exit_code == 1
    assert "crop557" in result.stdout
    assert "r.json cannot be written (no space)" in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no such device")
def test_what_cannot_be_printed_is_one_line_and_the_results_are_kept(case, tmp_path):
    code = "from csc_eval.command.group import main; main()"
    arguments = ["-s", case[0], "-t", case[1], "-r", tmp_path / "r.json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "Error: what is printed cannot be written: No space left on device\n"
    assert (tmp_path / "r.json").exists()


def test_paths_come_from_the_data_folder(golden, run, tmp_path):
    golden.write("e01_perfect", tmp_path / "data")
    assert run(evaluate).exit_code == 0
    assert run(evaluate, "--data", tmp_path / "data").exit_code == 0
    missing = run(evaluate, "--data", tmp_path / "elsewhere")
    assert missing.exit_code == 1
    assert missing.stderr.startswith("Error: ")
    assert missing.stderr.count("\n") == 1


def test_an_experiment_is_scored_and_its_results_are_kept(golden, run, tmp_path):
    submission, _ = golden.write("e01_perfect", tmp_path / "data")
    folder = tmp_path / "experiments" / "first"
    folder.mkdir(parents=True)
    submission.rename(folder / "submission.zarr")
    result = run(evaluate, "-e", "first")
    assert result.exit_code == 0
    assert {file.name for file in (folder / "results").iterdir()} == {"result.json", "result_extended.json"}
    assert "did you mean first?" in run(evaluate, "-e", "frist").stderr


def test_without_data_it_says_what_to_run(golden, run, tmp_path):
    said = run(evaluate).stderr
    assert "csc demo" in said
    assert "--datasplit" not in said  # there is none
    submission, truth = golden.write("e01_perfect", tmp_path / "data")
    truth.rename(tmp_path / "elsewhere.zarr")
    assert "name one (-t)" in run(evaluate).stderr
    submission.rename(tmp_path / "submission.zarr")
    (tmp_path / "data" / "datasplit.csv").touch()
    assert "`csc submit CONFIG` makes it" in (said := run(evaluate).stderr)
    assert "--datasplit data/datasplit.csv" in said


def test_a_zip_is_preferred_to_the_folder_beside_it(golden, run, tmp_path):
    import shutil

    submission, _ = golden.write("e01_perfect", tmp_path / "data")
    shutil.make_archive(str(submission.with_suffix("")), "zip", submission)
    assert "beside the zip" not in run(evaluate).output  # they hold the same
    (submission / "crop557" / "mito" / ".zattrs").unlink()
    result = run(evaluate)
    assert result.exit_code == 0
    assert "beside the zip" in result.output


def test_underscores_and_dashes_are_one(case, run):
    for option in ("--submission_path", "--submission-path"):
        assert run(evaluate, option, case[0], f"--truth_path={case[1]}").exit_code == 0


def test_a_label_that_failed_gives_a_non_zero_exit_after_the_table(golden, run, tmp_path):
    submission, truth = golden.write("e79_bad_ndim", tmp_path)
    result = run(evaluate, "-s", submission, "-t", truth, "-r", tmp_path / "r.json")
    assert result.exit_code == 1
    assert "FAILED" in result.output
    assert "three axes" in result.output
    assert (tmp_path / "r.json").exists()


def test_wrong_use_exits_with_2(run):
    assert run(evaluate, "--nonsense").exit_code == 2
    assert run(evaluate, "--workers", "-3").exit_code == 2
    assert run(batch_eval).exit_code == 2


def test_wrong_values_are_one_line(case, run, monkeypatch):
    result = run(evaluate, "-s", case[0], "-t", case[1], "--memory", "lots")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    monkeypatch.setenv("FINAL_INSTANCE_RATIO_CUTOFF", "few")
    assert "FINAL_INSTANCE_RATIO_CUTOFF" in run(evaluate, "-s", case[0], "-t", case[1]).stderr


def test_the_organisers_variables_set_rules(golden, run, tmp_path, monkeypatch):
    submission, truth = golden.write("e31_too_many", tmp_path)
    assert "too many instances" in run(evaluate, "-s", submission, "-t", truth).output
    monkeypatch.setenv("FINAL_INSTANCE_RATIO_CUTOFF", "100")
    assert "too many instances" not in run(evaluate, "-s", submission, "-t", truth).output
    monkeypatch.setenv("MAX_UNCOMPRESSED_SIZE", "1")
    import shutil

    shutil.make_archive(str(tmp_path / "z"), "zip", submission)
    refused = run(evaluate, "-s", tmp_path / "z.zip", "-t", truth)
    assert (refused.exit_code, "declares to unpack" in refused.stderr) == (1, True)


def test_several_rules_are_compared(golden, run, tmp_path):
    submission, truth = golden.write("e21_id_collision", tmp_path)
    result = run(evaluate, "-s", submission, "-t", truth, "--rules", "leaderboard-2026-06,definition-2026-06")
    assert "where the rules differ" in result.output
    assert "collide" in result.output


@pytest.mark.slow
def test_help_is_instant_and_light():
    code = (
        "import sys\nfrom csc_eval.command.options import evaluate, batch_eval\n"
        "for command in (evaluate, batch_eval):\n"
        "    try: command(['--help'])\n"
        "    except SystemExit as exit: assert exit.code == 0\n"
        "heavy = {'numpy', 'zarr', 'torch', 'scipy', 'numcodecs', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.slow
def test_scoring_imports_no_pydantic(case):
    code = "import sys, csc_eval; csc_eval.score_submission(*sys.argv[1:]); sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, case[0], case[1]], check=False).returncode == 0


@pytest.mark.slow
def test_the_installed_command_keeps_the_environment_and_scores(case):
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", "from csc_eval.command.group import main; main()", "-s", case[0], "-t", case[1]],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert "cell" in done.stdout


@pytest.fixture
def batch(write_array, tmp_path):
    volume = np.zeros((6, 6, 6), np.uint8)
    volume[1:4, 1:4, 1:4] = 1
    write_array(tmp_path / "t.zarr/crop1/mito", volume, attributes=PLACE)
    write_array(tmp_path / "a/s.zarr/crop1/mito", volume, attributes=PLACE)
    write_array(tmp_path / "b/s.zarr/crop1/mito", np.roll(volume, 1, 0), attributes=PLACE)
    rows = ["data_path,evaluation_id", "a/s.zarr,7", "b/s.zarr,8", "c/s.zarr,9"]
    (tmp_path / "batch.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.mark.slow
def test_a_batch_scores_what_it_can_and_names_the_rest(batch, run):
    result = run(batch_eval, "-c", batch / "batch.csv", "-t", batch / "t.zarr", "-n", "2")
    assert result.exit_code == 1
    assert "2 of 3" in result.output
    assert "does not exist" in result.output
    scores = [json.loads((batch / f"{x}/eval_{i}.results").read_text()) for x, i in (("a", 7), ("b", 8))]
    values = [score["label_scores"]["mito"]["combined_score"] for score in scores]
    assert values[0] == 1 > values[1]


@pytest.mark.parametrize(
    "text", ["data_path\nx\n", "data_path,evaluation_id\n,3\n", "data_path,evaluation_id\nx,../3\n"]
)
def test_a_bad_csv_is_one_line(text, run, tmp_path):
    (tmp_path / "batch.csv").write_text(text)
    result = run(batch_eval, "-c", tmp_path / "batch.csv", "-t", tmp_path)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--rules", "nope"], 2, "there are no rules 'nope'"),
        (["--rules", "pq", "--rules", "leaderboard"], 2, "did you mean leaderboard-2026-06"),
        (["--metrics", "ap,nope"], 2, "there are no metrics nope"),
        (["-ic", "cel"], 1, "did you mean cell"),
    ],
)
def test_names_that_do_not_exist_are_refused_before_anything_is_scored(case, run, arguments, code, words):
    result = run(evaluate, "-s", case[0], "-t", case[1], *arguments)
    assert result.exit_code == code, result.output
    assert words in result.output
    assert "score" not in result.stdout
