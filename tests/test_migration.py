"""Whatever the organisers' documents name is here or answered, and pages name nothing of ours that is not there."""

import dataclasses
import importlib
import inspect
import re
import shlex
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

DOCS = Path(__file__).parents[1] / "docs"
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
def page() -> str:
    return (DOCS / "migration" / "official.md").read_text(encoding="utf-8")


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


def is_ours(dotted: str) -> bool:
    """Tell whether there is a module, or a name within one, without importing it: some take seconds."""
    package, *parts = dotted.split(".")
    place = DOCS.parent / "packages" / package.replace("_", "-") / "src" / package
    while parts and ((place / parts[0]).is_dir() or (place / f"{parts[0]}.py").is_file()):
        place /= parts.pop(0)
    files = [place / "__init__.py", place / "__init__.pyi"] if place.is_dir() else [place.with_suffix(".py")]
    written = " ".join(file.read_text(encoding="utf-8") for file in files if file.is_file())
    return bool(written) and (not parts or re.search(rf"\b{parts[0]}\b", written) is not None)


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


PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if "reference" not in path.parts)


@pytest.mark.parametrize("name", PAGES)
def test_what_pages_call_ours_is_there(name):
    """Modules and functions, commands with their options, files of the repository."""
    for text in spans((DOCS / name).read_text(encoding="utf-8")):
        if re.match(r"csc_\w+\.[\w.]+(\(.*\))?$", text):
            assert is_ours(text.partition("(")[0]), text
        elif re.match(r"from csc_\w+(\.\w+)* import [\w, ]+$", text):
            module, _, names = text.removeprefix("from ").partition(" import ")
            assert [one for one in names.split(", ") if not is_ours(f"{module}.{one}")] == [], text
        elif re.match(r"csc [a-z]", text):
            words = shlex.split(text, comments=True)[1:]
            options = options_of([word for word in words if not word.startswith("-")])
            assert words[0] in COMMANDS, text
            assert sorted(word for word in words if re.match("--?[a-zA-Z]", word) and word not in options) == [], text
        elif re.match(r"(benchmarks|examples)/\S+$", text):
            assert (DOCS.parent / text).exists(), text


def test_what_answers_call_ours_is_there():
    for name in re.findall(r"csc_\w+\.[\w.]+", " ".join(INSTEAD.values())):
        assert is_ours(name.rstrip(".")), name


def test_settings_that_the_page_tells_to_write_are_settings(page):
    known = {*SETTINGS, *VALUES, *OFFICIAL["functions"], *chain(*OFFICIAL["functions"].values())}
    said = [name for row in rows(page) for name in spans(row[-1]) if re.fullmatch(r"[a-z]\w*( = .+)?", name)]
    assert sorted({name for name in said if name.partition(" = ")[0] not in known}) == []


def test_errors_that_the_questions_quote_are_said():
    titles = re.findall(r"^### (.*`.*)$", (DOCS / "faq.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    quoted = [part.strip() for title in titles for text in spans(title) for part in text.split("...")]
    theirs = {"bad_malloc", "CUDA out of memory", "error: externally-managed-environment"}
    theirs |= {"No valid training datasets found", "train_crop_manifest.csv", "all", "ribo"}
    sources = " ".join(path.read_text("utf-8") for path in DOCS.parent.glob("packages/*/src/**/*.py"))
    plain = re.sub(r'"\s+f?"', "", sources).replace("`", "")
    assert len(quoted) > 10
    for text in filter(None, {*quoted} - theirs):
        assert re.sub("nuc, er", "{X}", text) in re.sub(r"\{[^{}]*\}", "{X}", plain), text
