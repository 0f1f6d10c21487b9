import importlib.metadata
import re

import pytest


def test_it_brings_all_that_its_commands_and_steps_ask_for():
    """So that `csc tune` and each step of `csc process` do what their help says."""
    needed = next(line for line in importlib.metadata.requires("csc-cli") if line.startswith("csc-submit"))
    brought = re.search(r"\[(.*)\]", needed)[1].split(",")
    assert set(brought) == set(importlib.metadata.metadata("csc-submit").get_all("Provides-Extra"))


def test_an_unknown_command_names_the_nearest_one(run):
    result = run("trian")
    assert result.exit_code == 2
    assert "'train'" in result.stderr


@pytest.mark.parametrize(
    ("words", "meant"), [("config shwo", "show"), ("models lst", "list"), ("pack", "pack-results"), ("new", "new-exp")]
)
def test_a_near_miss_of_a_command_is_told_and_so_is_the_beginning_of_one(run, words, meant):
    result = run(*words.split())
    assert result.exit_code == 2
    assert meant in result.stderr


def test_british_spellings_are_understood(run):
    result = run("visualise", "--help")
    assert result.exit_code == 0
    assert "csc visualize" in result.output


def test_underscores_in_options_are_accepted(run):
    assert run("make-datasplit", "--csv_path", "x.csv", "--data", "nowhere").exit_code == 1
    assert run("make-datasplit", "--csv-pathh", "x.csv").exit_code == 2


def test_classes_lists_the_tested_ones(run):
    output = run("classes", "--tested").output
    rows = output.splitlines()[1:]
    assert len(rows) == 48
    mito = next(row.split() for row in rows if row.split()[1] == "mito")
    assert mito == ["50", "mito", "instance", "yes", "mito_mem", "mito_lum", "mito_ribo"]


def test_version_is_that_of_each_package(run):
    found = dict(line.split() for line in run("--version").output.splitlines())
    assert list(found) == ["csc-cli", "csc-data", "csc-models", "csc-eval", "csc-train", "csc-submit"]
    assert all(importlib.metadata.version(name) == version for name, version in found.items())


def test_a_missing_data_folder_is_one_line_that_says_what_to_do(run):
    result = run("make-datasplit", "--data", "nowhere")
    assert result.exit_code == 1
    assert "nowhere" in result.stderr
    assert "--data" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_an_empty_data_folder_is_one_line(run, tmp_path):
    (tmp_path / "empty").mkdir()
    result = run("make-datasplit", "--data", "empty")
    assert result.exit_code == 1
    assert "holds no annotated crop" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
