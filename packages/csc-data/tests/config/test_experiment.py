from __future__ import annotations

import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from csc_data.config.experiment import (
    MODULE_NAME,
    Experiment,
    adjust_settings,
    build_settings,
    idle_names,
    is_being_read,
    read_experiment,
)
from csc_data.config.reference import describe_settings, experiment_schema
from csc_data.config.settings import COUNT, Given, Limits, Names, setting, settings
from csc_data.errors import InvalidArgumentError, MissingDataError, Problem, ProblemsError


def lucky(epochs, earlier):
    if epochs == 13 and earlier["classes"]:
        yield Problem(where="", what="brings bad luck")


@settings
class Demo:
    """Settings as a package would declare them."""

    classes: Names = setting("The classes.")
    epochs: int = setting("How long.", COUNT, lucky, default=10)
    learning_rate: float = setting("How fast.", Limits(gt=0, le=1), default=1e-3)
    shape: Given[tuple[int, int, int], Sequence[int]] = setting("How large.", COUNT, default=(8, 8, 8))
    names: dict[str, int] = setting("A mapping.", factory=dict)
    mode: Literal["fast", "slow"] | None = setting("Which way.", default=None)
    hook: Callable[..., Any] | None = setting("What is called.", default=None)


def write(tmp_path: Path, text: str, name: str = "train.py") -> Path:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def build(tmp_path: Path, text: str, name: str = "train.py", **overrides: object) -> Demo:
    return build_settings(read_experiment(write(tmp_path, text, name)), Demo, **overrides)


PYTHON = """
import math
from pathlib import Path

classes = ["mito", "er"]
epochs = 2 * 10
learning_rate = 1
_private = 3

def some_helper(x):
    return x

if __name__ == "__main__":
    raise SystemExit("it was run as a script")
"""
TOML = 'classes = ["mito", "er"]\nepochs = 20\nlearning_rate = 1\n'


@pytest.mark.parametrize(("text", "name"), [(PYTHON, "train.py"), (TOML, "train.toml")])
def test_python_and_toml_give_the_same_settings(tmp_path, text, name):
    settings = build(tmp_path, text, name)
    assert settings == Demo(classes=("mito", "er"), epochs=20, learning_rate=1.0)
    assert isinstance(settings.learning_rate, float)


def test_names_leave_out_private_ones_and_modules(tmp_path):
    names = read_experiment(write(tmp_path, PYTHON)).names
    assert set(names) == {"classes", "epochs", "learning_rate", "some_helper", "Path"}


def test_the_file_runs_once_and_knows_where_it_is(tmp_path):
    text = "with open(__file__ + '.log', 'a') as log:\n    log.write(__name__)\nclasses = ['er']\n"
    file = write(tmp_path, text)
    build_settings(read_experiment(file), Demo)
    assert Path(f"{file}.log").read_text() == MODULE_NAME == "csc_experiment"


def test_modules_beside_the_file_can_be_imported_as_in_a_script(tmp_path):
    write(tmp_path, "classes = ['ld']\n", "shared_names_of_this_test.py")
    file = write(tmp_path, "from shared_names_of_this_test import classes\n")
    before = list(sys.path)
    assert build_settings(read_experiment(file), Demo).classes == ("ld",)
    assert sys.path == before
    del sys.modules["shared_names_of_this_test"]


def test_neighbours_are_found_relatively_and_each_experiment_has_its_own(tmp_path):
    for name, value in (("one", "er"), ("two", "ld")):
        write(tmp_path, f"classes = [{value!r}]\n", f"{name}/its_model.py")
        write(tmp_path, "", f"{name}/its_package/__init__.py")
        write(tmp_path, "from ..its_model import classes\n", f"{name}/its_package/inner.py")
        write(tmp_path, "from .its_model import classes\n", f"{name}/relative.py")
        write(tmp_path, "from its_model import classes\n", f"{name}/plain.py")
        write(tmp_path, "from .its_package.inner import classes\n", f"{name}/deep.py")
    for name, value in (("one", "er"), ("two", "ld"), ("one", "er")):
        for file in ("relative", "plain", "deep"):
            found = build_settings(read_experiment(tmp_path / name / f"{file}.py"), Demo).classes
            assert found == (value,), (name, file)


def test_dataclasses_with_postponed_annotations_work_in_a_file(tmp_path):
    text = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Mine:
    size: int | None = 3

classes = ["er"] * Mine().size
"""
    assert build(tmp_path, text).classes == ("er", "er", "er")


def test_annotations_are_those_of_the_file_itself(tmp_path):
    assert build(tmp_path, "def f(x: ('er',)): ...\nclasses = f.__annotations__['x']\n").classes == ("er",)


def test_a_file_that_trains_at_its_end_is_not_trained_while_it_is_read(tmp_path, monkeypatch):
    calls = []
    module = types.ModuleType("trainer_of_this_test")
    module.train = lambda path: calls.append(is_being_read(path))
    monkeypatch.setitem(sys.modules, "trainer_of_this_test", module)
    file = write(tmp_path, "from trainer_of_this_test import train\nclasses = ['er']\ntrain(__file__)\n")
    monkeypatch.chdir(tmp_path)
    read_experiment("train.py")
    assert calls == [True]
    assert not is_being_read(file)
    assert not is_being_read(tmp_path / "other.py")


def test_what_the_file_raises_is_not_hidden_and_leaves_nothing_behind(tmp_path):
    file = write(tmp_path, "1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        read_experiment(file)
    assert not is_being_read(file)


@pytest.mark.parametrize(
    ("given", "meant"),
    [("epoch = 3", "epochs"), ("learning_ratee = 0.1", "learning_rate"), ("Classes = ['er']", "classes")],
)
@pytest.mark.parametrize("name", ["train.py", "train.toml"])
def test_a_misspelt_name_is_an_error_with_the_right_one(tmp_path, given, meant, name):
    with pytest.raises(ProblemsError) as caught:
        build(tmp_path, given + "\n", name)
    problem = caught.value.problems[0]
    assert problem.where == given.split()[0]
    assert problem.remedy == f"did you mean {meant}?"


def test_toml_takes_only_settings_but_python_may_have_helpers(tmp_path):
    assert build(tmp_path, "classes = ['er']\nhalf_width_of_something = 3\n").classes == ("er",)
    with pytest.raises(ProblemsError, match="half_width_of_something: there is no such setting"):
        build(tmp_path, "classes = ['er']\nhalf_width_of_something = 3\n", "train.toml")


def test_all_problems_are_reported_together(tmp_path):
    text = "epoch = 3\nlearning_rate = 2.0\nshape = [8, 0, 8]\nnames = 3\n"
    with pytest.raises(ProblemsError) as caught:
        build(tmp_path, text)
    assert {problem.where for problem in caught.value.problems} == {
        "epoch",
        "classes",
        "learning_rate",
        "shape",
        "names",
    }
    assert "5 problems" in str(caught.value)
    assert "train.py" in str(caught.value)


def test_problems_of_several_fields_come_from_the_dataclass(tmp_path):
    with pytest.raises(ProblemsError, match="bad luck"):
        build(tmp_path, "classes = ['er']\nepochs = 13\n")


def test_options_beat_the_file_and_none_leaves_it(tmp_path):
    settings = build(tmp_path, TOML, "train.toml", epochs=3, learning_rate=None)
    assert (settings.epochs, settings.learning_rate) == (3, 1.0)
    with pytest.raises(ProblemsError, match="epochs"):
        build(tmp_path, TOML, "train.toml", epochs=0)


def test_numbers_of_numpy_are_numbers(tmp_path):
    experiment = Experiment(
        path=tmp_path, names={"classes": ("er",), "epochs": np.int64(5), "shape": np.array([1, 2, 3])}, exact=False
    )
    settings = build_settings(experiment, Demo)
    assert (type(settings.epochs), settings.shape) == (int, (1, 2, 3))


def test_files_that_are_no_experiment_are_refused(tmp_path):
    with pytest.raises(MissingDataError, match="no experiment file"):
        read_experiment(tmp_path / "none.py")
    with pytest.raises(InvalidArgumentError, match=r"\.py or a \.toml"):
        read_experiment(write(tmp_path, "", "train.yaml"))
    with pytest.raises(ProblemsError, match="line 2"):
        read_experiment(write(tmp_path, "a = 1\nb = (\n"))
    with pytest.raises(ProblemsError, match="ends the program while it is read"):
        read_experiment(write(tmp_path, "import sys\nsys.exit()\n"))
    with pytest.raises(ProblemsError, match="not valid TOML"):
        read_experiment(write(tmp_path, "a = \n", "train.toml"))
    for name in ("train.py", "train.toml"):
        (tmp_path / name).write_bytes(b"a = '\xff'\n")
        with pytest.raises(ProblemsError, match=r"(?i)utf-8"):
            read_experiment(tmp_path / name)


def test_settings_are_described_in_their_order():
    rows = describe_settings(Demo)
    assert [row.name for row in rows] == ["classes", "epochs", "learning_rate", "shape", "names", "mode", "hook"]
    assert (rows[0].default, rows[1].default, rows[4].default) == ("(required)", "10", "{}")
    assert (rows[1].type, rows[1].doc) == ("a whole number (at least 1)", "How long.")
    assert rows[5].type == "'fast' or 'slow'"
    assert rows[3].type == "list of 3: a whole number (at least 1)"


def test_settings_made_in_code_are_adjusted_and_none_leaves_them():
    settings = Demo(classes=["er"], epochs=3)
    assert adjust_settings(settings, epochs=None, learning_rate=0.5) == Demo(
        classes=["er"], epochs=3, learning_rate=0.5
    )
    with pytest.raises(ProblemsError, match="did you mean epochs"):
        adjust_settings(settings, epoch=3)


def test_one_json_schema_describes_the_settings_of_several_stages():
    @settings
    class Other:
        """Another stage."""

        epochs: int = setting("How often.", default=1)
        crops: Names = setting("Which crops.", default=())

    schema = experiment_schema({"demo": Demo, "other": Other})
    properties = schema["properties"]
    assert list(properties) == [row.name for row in describe_settings(Demo)] + ["crops"]
    assert "required" not in schema
    assert schema["additionalProperties"] is False
    assert properties["learning_rate"] == {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1,
        "default": 1e-3,
        "description": "demo: How fast.",
    }
    assert properties["shape"]["items"] == {"type": "integer", "minimum": 1}
    assert (properties["shape"]["minItems"], properties["shape"]["maxItems"]) == (3, 3)
    assert properties["mode"]["enum"] == ["fast", "slow"]
    assert properties["epochs"]["description"] == "demo: How long.\nother: How often."
    assert (properties["epochs"]["type"], properties["epochs"]["default"]) == ("integer", 10)
    assert properties["hook"] == {"not": {}, "description": "demo: What is called. (Python files only)"}


def test_values_that_nothing_uses_are_told(tmp_path):
    text = """
import math
from pathlib import Path
width = 8
mystery = 3
_own = 1
epochs = 2 * width
def helper():
    return width
class Net: ...
folder = Path("a")
"""
    lines = dict(idle_names(read_experiment(write(tmp_path, text))))
    assert set(lines) - {"epochs"} == {"mystery", "folder"}  # settings of this test are announced by no package
    assert lines["mystery"] == "mystery is not a setting, and nothing in the file uses it: it has no effect"
