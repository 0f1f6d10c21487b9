"""Whatever the organisers' documents name is here, or is answered by the page about coming from their toolbox."""

import dataclasses
import importlib
import inspect
import re
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

pytest.importorskip("torch")

import click

from csc_cli.main import COMMANDS, csc
from csc_cli.official_imports import HERE, INSTEAD
from csc_models import list_models
from csc_submit import ProcessSettings
from csc_train.settings import PredictSettings, TrainSettings

OFFICIAL = tomllib.loads((Path(__file__).parent / "official_toolbox.toml").read_text(encoding="utf-8"))
HOME = {name: module for module, names in HERE.items() for name in names}
SETTINGS = {
    field.name for each in (TrainSettings, PredictSettings, ProcessSettings) for field in dataclasses.fields(each)
}
# What stands on the page in code and is neither a setting nor a name of the organisers'.
VALUES = {
    *("data", "instance_classes", "class_name", "workers", "test", "all", "auto", "validation", "annotated", "upath"),
    *("gt", "predictions", "processed", "submission", "rotate", "scale", "elastic", "lsf", "slurm"),
    *("bce", "bce_dice", "dice", "focal", "tversky", "cldice", "cross_entropy", "constant", "cosine", "polynomial"),
    *("data_path", "evaluation_id", "skipped_too_many_instances"),
}


@pytest.fixture(scope="module")
def page(root) -> str:
    return (root / "docs" / "migration" / "official.md").read_text(encoding="utf-8")


def spans(text: str) -> list[str]:
    """Return what stands in code, and the lines of blocks of commands."""
    blocks = re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)
    return [*re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)), *"".join(blocks).splitlines()]


def rows(text: str) -> list[list[str]]:
    """Return the cells of all rows of tables."""
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]


def section(page: str, title: str) -> str:
    """Return what stands below a heading, up to the next one of its kind or above."""
    return re.split(rf"\n#{{1,{len(title.split()[0])}}} ", page.partition(f"\n{title}\n")[2], maxsplit=1)[0]


def options_of(words: list[str]) -> set[str]:
    """Return the options of a command, which may be one of a group."""
    command: Any = csc
    for word in words:
        if isinstance(command, click.Group) and (found := command.get_command(click.Context(command), word)):
            command = found
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


def find(dotted: str) -> Any:
    """Return what a dotted name stands for."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            found = getattr(found, name)
        return found
    raise ImportError(dotted)


def accepted(function: Any) -> set[str]:
    """Return the arguments that a function takes, those of its typed keywords included."""
    names = set(inspect.signature(function).parameters)
    if "options" in names:
        names |= {*get_args(get_type_hints(function)["options"])[0].__annotations__}
    return names


def test_every_key_of_training_is_a_setting_and_on_the_page(page):
    assert sorted({*OFFICIAL["training"]} - {field.name for field in dataclasses.fields(TrainSettings)}) == []
    told = {name for row in rows(section(page, "## Settings of training")) for name in spans(row[0])}
    assert sorted({*OFFICIAL["training"]} - told) == []
    assert {*OFFICIAL["processing"], *OFFICIAL["networks"]} <= {*spans(section(page, "## Settings of training"))}
    assert {*OFFICIAL["networks"]} <= {*list_models()}


@pytest.mark.parametrize("command", OFFICIAL["commands"])
def test_every_option_is_there_or_answered(page, command):
    assert command in COMMANDS
    text = section(page, f"### `csc {command}`")
    told = {name for row in rows(text) for name in spans(row[0])}
    assert text
    assert sorted({*OFFICIAL["commands"][command]} - told) == []
    same = {name for row in rows(text) if row[1].startswith("the same") for name in spans(row[0])}
    assert sorted(name for name in same if name.replace("_", "-") not in options_of([command])) == []


def test_every_name_is_here_or_answered(page):
    told = {call.partition("(")[0] for row in rows(section(page, "## Functions and names")) for call in spans(row[0])}
    assert sorted({*OFFICIAL["functions"]} - told) == []
    named = [*OFFICIAL["functions"], *OFFICIAL["undocumented"]["names"]]
    known = {*HOME, *INSTEAD, "CellMapDataLoader", "CellMapDataSplit"}
    assert sorted({*named} - known) == []
    for row in rows(section(page, "## Functions and names")):
        for call in spans(row[0]):
            name, _, arguments = call.partition("(")
            documented = OFFICIAL["functions"].get(name, [])
            if "(" in call:
                assert arguments.rstrip(")").split(", ") == documented, f"{name} has other arguments"
            if "with these arguments" in row[1]:
                function = getattr(importlib.import_module(HOME[name]), name)
                assert sorted({*documented} - accepted(function)) == [], name


def test_files_and_the_environment_are_answered(page):
    told = {name for row in rows(section(page, "## Files and environment")) for name in spans(row[0])}
    assert sorted({*OFFICIAL["files"], *OFFICIAL["environment"]} - told) == []


def test_what_the_page_and_the_answers_call_ours_is_there(page):
    """Modules and functions, commands with their options, settings, and what else stands in code in the last column."""
    for text in chain(spans(page), re.findall(r"csc_[\w.]+", " ".join(INSTEAD.values()))):
        if re.match(r"csc_\w+\.\w", text):
            assert find(text.partition("(")[0]) is not None
        elif text.startswith("from csc_"):
            module, names = re.fullmatch(r"from (\S+) import (.+)", text).groups()
            assert all(hasattr(importlib.import_module(module), name) for name in names.split(", ")), text
        elif text.startswith("csc "):
            words = text.split()[1:]
            assert words[0] in COMMANDS, text
            options = options_of([word for word in words if not word.startswith("-")])
            assert sorted(word for word in words if word.startswith("-") and word not in options) == [], text
    documented = {name for names in OFFICIAL["functions"].values() for name in names}
    for cell in (row[-1] for row in rows(page)):
        for name in spans(cell):
            if re.fullmatch(r"[a-z]\w*( = .+)?", name):
                assert name.partition(" = ")[0] in SETTINGS | VALUES | documented | {*OFFICIAL["functions"]}, name
