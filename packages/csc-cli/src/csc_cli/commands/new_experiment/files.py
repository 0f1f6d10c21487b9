"""The text of the files of a new experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Template as Text
from typing import Any

from csc_cli.commands.new_experiment.templates import Template

_WIDTH = 110

_MODEL = '''"""The network: `csc models list` shows those there are, `csc models show NAME` what each takes.

One of your own is a torch.nn.Module that gives a channel for each class: write it here, let train_config.py import it,
and set `model = MyNetwork()` there in place of these names.
"""

$model'''

_DATA = '''"""What is done to samples, and what the network is to say of each voxel."""

$data'''

_TRAIN = '''"""$title: what `csc train -e $name`, predict and submit go by.

`csc settings train` and `csc settings predict` list what else can stand here.
"""

from pathlib import Path

from data import $data_names
from model import $model_names
from process_config import $processing_names

# Relative paths are below this folder, and so is all that is made: it can be moved, and leaves others alone.
base_experiment_path = Path(__file__).resolve().parent
model_name = "$name"
datasplit_path = "datasplit.csv"
model_save_path = "checkpoints/{model_name}_{epoch}.pth"
logs_save_path = "logs/{model_name}"

# What to learn, and from what: voxels (z, y, x) and their size in nm
$classes$training
if __name__ == "__main__":
    from csc_train import train

    train(__file__)
'''

_PROCESS = '''"""From probabilities to masks and objects: `csc process -e $name`; `csc tune -e $name` tries values.

`csc settings process` lists what else can stand here. What train_config.py imports of it counts for the scores in
training and for `csc submit`, too.
"""

from pathlib import Path
$offsets
base_experiment_path = Path(__file__).resolve().parent

$processing'''

_OF_PLAN = '''"""$title: `csc $command -e $name` goes by this file, and so by plan.toml.

plan.toml holds what was chosen for the data and the machine, and why: change it there, or say it anew below.
"""

import tomllib
from pathlib import Path

# Relative paths are below this folder, and so is all that is made: it can be moved, and leaves others alone.
base_experiment_path = Path(__file__).resolve().parent
globals().update(tomllib.loads((base_experiment_path / "plan.toml").read_text("utf-8")))
model_name = "$name"
datasplit_path = "datasplit.csv"
model_save_path = "checkpoints/{model_name}_{epoch}.pth"
logs_save_path = "logs/{model_name}"
'''

_README = """# $name

$title.

| file | what it is |
|---|---|
$files

```sh
csc train -e $name --dry-run   # what it would take
csc train -e $name
csc predict -e $name -c validation
csc process -e $name
csc evaluate -e $name --datasplit $folder/datasplit.csv
csc submit -e $name            # the zip for the portal
csc list                       # how far it is, beside others
```
"""
_FILES = {
    "train_config.py": "what training and prediction go by",
    "process_config.py": "how probabilities become masks and objects",
    "model.py": "the network",
    "data.py": "what is done to samples",
    "plan.toml": "what was chosen for the data and the machine, and why",
}
_MADE = {
    "datasplit.csv": "which crop trains, and which validates",
    "checkpoints/, logs/": "what training leaves",
    "predictions/, processed/, submission.zip, results/": "what other commands make",
}


def experiment_files(name: str, folder: str, template: Template, classes: Sequence[str]) -> dict[str, str]:
    """Return the text of each file, by its name.

    Parameters
    ----------
    name : str
        Of the experiment.
    folder : str
        Where it lies, for people.
    template : Template
    classes : sequence of str
        What is to be learnt.
    """
    processing = _processing(template, classes)
    words = {
        "name": name,
        "title": template.title,
        "folder": folder,
        "model": _lines(template.model),
        "data": _lines(_data(template)).replace(f'"offsets": {template.data.get("offsets")}', '"offsets": offsets'),
        "data_names": ", ".join(sorted(_data(template).keys() - {"offsets"})),
        "model_names": ", ".join(sorted(template.model)),
        "processing_names": ", ".join(sorted(processing)),
        "classes": _lines({"classes": list(classes)}),
        "training": _lines(template.training),
        "offsets": "\nfrom data import offsets\n" if "offsets" in template.data else "",
        "processing": _lines(processing).replace(f'"offsets": {template.data.get("offsets")}', '"offsets": offsets'),
    }
    texts = {"model.py": _MODEL, "data.py": _DATA, "train_config.py": _TRAIN, "process_config.py": _PROCESS}
    return _filled(texts, words)


def planned_files(name: str, folder: str) -> dict[str, str]:
    """Return the text of the files beside plan.toml, by their names."""
    title = "What `csc plan` chose for the data and the machine"
    words = {"name": name, "title": title, "folder": folder}
    files = _filled({"train_config.py": Text(_OF_PLAN).safe_substitute(command="train")}, words)
    return files | _filled({"process_config.py": Text(_OF_PLAN).safe_substitute(command="process")}, words) | files


def _filled(texts: Mapping[str, str], words: Mapping[str, str]) -> dict[str, str]:
    rows = {**{file: _FILES[file] for file in texts}, **_MADE}
    listed = "\n".join(f"| `{file}` | {what} |" for file, what in rows.items())
    every = {"__init__.py": '"""The experiment $name."""\n', "README.md": _README, **texts}
    return {file: Text(text).substitute(words, files=listed) for file, text in every.items()}


def _data(template: Template) -> Mapping[str, Any]:
    """Return what stands in data.py: with offsets, also what becomes of them."""
    offsets = template.data.get("offsets")
    if offsets is None:
        return template.data
    return {**template.data, "targets": {"output": "binary", "affinities": {"kind": "affinities", "offsets": offsets}}}


def _processing(template: Template, classes: Sequence[str]) -> Mapping[str, Any]:
    if "offsets" not in template.data:
        return template.processing
    divided = ["threshold", {"name": "mutex_watershed", "offsets": template.data["offsets"]}]
    return {"steps": dict.fromkeys(classes, divided)}


def _lines(values: Mapping[str, Any]) -> str:
    """Return settings as Python writes them, an entry a line where one would be too long.

    >>> print(_lines({"epochs": 3, "criterion": "bce"}), end="")
    epochs = 3
    criterion = "bce"
    """
    return "".join(f"{name} = {_written(value, len(name) + 3)}\n" for name, value in values.items())


def _written(value: Any, before: int, indent: str = "") -> str:
    """Return a value, an entry a line where it would reach too far; what does not hold others stays on its line."""
    line = repr(value).replace("'", '"')
    if len(indent) + before + len(line) <= _WIDTH or not isinstance(value, dict | list | tuple):
        return line
    inner = f"{indent}    "
    if isinstance(value, dict):
        entries = [f'"{key}": {_written(entry, len(key) + 5, inner)}' for key, entry in value.items()]
    else:
        entries = [_written(entry, 1, inner) for entry in value]
    begin, end = ("{", "}") if isinstance(value, dict) else ("[", "]")
    return "\n".join([begin, *(f"{inner}{entry}," for entry in entries), f"{indent}{end}"])
