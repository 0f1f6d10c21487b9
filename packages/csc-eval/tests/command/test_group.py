"""The commands of ``csc-eval``."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner

import csc_eval
from csc_eval._version import VERSION
from csc_eval.command.comparing import short_names
from csc_eval.command.group import csc_eval as command

PLACE = {"voxel_size": [8.0] * 3, "translation": [0.0] * 3}


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(command, [str(each) for each in arguments], prog_name="csc-eval")


@pytest.fixture(scope="module")
def scored(tmp_path_factory, write_array):
    """A truth of five crops, and results of two submissions."""
    folder = tmp_path_factory.mktemp("scored")
    rng = np.random.default_rng(0)
    for number in range(1, 6):
        truth = rng.integers(0, 2, (8, 8, 8), dtype=np.uint8).repeat(2, 1)
        for name in ("ecs", "er"):
            write_array(folder / f"t.zarr/crop{number}/{name}", truth, attributes=PLACE)
            for submission, share in (("good", 0.02), ("bad", 0.4)):
                wrong = np.where(rng.random(truth.shape) < share, 1 - truth, truth)
                write_array(folder / f"{submission}/s.zarr/crop{number}/{name}", wrong, attributes=PLACE)
    for submission in ("good", "bad"):
        result = csc_eval.score_submission(folder / submission / "s.zarr", folder / "t.zarr")
        csc_eval.write_results(result, folder / submission / "result.json")
    return folder


def test_without_a_command_it_scores_as_with_its_name(run, scored):
    arguments = ("-s", scored / "good/s.zarr", "-t", scored / "t.zarr")
    bare, named = run(*arguments), run("score", *arguments)
    assert bare.exit_code == named.exit_code == 0, bare.output + named.output
    assert re.sub(r"in .* s\n", "", bare.output) == re.sub(r"in .* s\n", "", named.output)


def test_the_help_is_that_of_scoring_and_names_the_other_commands(run):
    found = run("--help")
    assert found.exit_code == 0
    assert "--submission-path" in found.output
    for name in ("score", "batch", "compare", "report", "validate"):
        assert re.search(rf"^  {name} ", found.output, re.MULTILINE)
        own = run(name, "--help")
        assert own.exit_code == 0
        assert own.output.startswith(f"Usage: csc-eval {name}")
    assert run("-h").output == found.output
    assert run("--version").output == f"csc-eval, version {VERSION}\n"


def test_intervals_are_shown_where_they_are_asked_for(run, scored):
    arguments = ("-s", scored / "bad/s.zarr", "-t", scored / "t.zarr")
    assert "intervals" not in run(*arguments).output
    found = run(*arguments, "--intervals").output
    low, high, crops = re.search(r"^er +(0\.\d+) +(0\.\d+) +(\d)$", found, re.MULTILINE).groups()
    assert 0 < float(low) < float(high) < 1
    assert crops == "5"


def test_two_results_are_compared(run, scored, tmp_path):
    pytest.importorskip("jinja2")
    page = tmp_path / "page.html"
    found = run("compare", scored / "bad/result.json", scored / "good/result_extended.json", "--report", page)
    assert found.exit_code == 0, found.output
    assert re.search(r"^ *1 +good +0\.\d{4}", found.output, re.MULTILINE)
    assert "told apart" in found.output
    assert f"wrote {page}" in found.output
    document = json.loads(run("compare", scored / "bad/result.json", scored / "good/result.json", "--json").stdout)
    assert [one["name"] for one in document["standings"]] == ["good", "bad"]


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.outside = []
        self.tags = set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.outside += [value for name, value in attributes if name in ("src", "href") and "://" in (value or "")]


def test_the_page_needs_nothing_beside_it_and_escapes_names(run, scored, tmp_path):
    pytest.importorskip("jinja2")
    hostile = tmp_path / "<script>x" / "result_extended.json"
    hostile.parent.mkdir()
    hostile.write_bytes((scored / "good/result_extended.json").read_bytes())
    page = tmp_path / "page.html"
    assert run("compare", hostile, scored / "bad/result.json", "--report", page).exit_code == 0
    text = page.read_text("utf-8")
    found = Links()
    found.feed(text)
    assert found.outside == []
    assert "<script>x" not in text
    assert "&lt;script&gt;x" in text
    assert {"table", "svg"} <= found.tags


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("good/result.json",), "name two or more"),
        (("good/result.json", "good/result.json"), "is named twice"),
        (("good/result.json", "nowhere.json"), "there is no file"),
        (("good/result.json", "t.zarr/crop1/er/.zarray"), "is not a result_extended.json"),
    ],
)
def test_what_cannot_be_compared_is_one_line(run, scored, arguments, words):
    found = run("compare", *(scored / each for each in arguments))
    assert found.exit_code == 1
    assert found.stderr.startswith("Error: ")
    assert words in found.stderr
    assert found.stderr.count("\n") == 1


def test_a_page_of_a_result_is_written_later(run, scored, tmp_path):
    pytest.importorskip("jinja2")
    page = tmp_path / "page.html"
    found = run("report", scored / "bad/result_extended.json", page)
    assert found.exit_code == 0, found.output
    assert "crop3" in page.read_text("utf-8")
    assert run("report", scored / "bad/nothing.json", page).exit_code == 1


def test_a_submission_is_validated(run, scored):
    found = run("validate", scored / "good/s.zarr")
    assert found.exit_code == 1
    assert "holds no test crop" in found.output
    assert found.output.rstrip().endswith("the portal refuses it")


def test_names_of_results_are_as_short_as_they_can_be(tmp_path):
    paths = [tmp_path / each for each in ("x/a/result_extended.json", "y/a/result_extended.json", "y/b/other.json")]
    assert short_names(paths) == ["x/a/result", "y/a/result", "y/b/other"]
