"""The Python of the README runs as it stands, and its table says what the cards say."""

import re
from importlib.metadata import metadata
from pathlib import Path

import pytest

from csc_models import list_models, model_card
from csc_models.errors import MissingExtraError


def _readme():
    """The file beside the tests, or, where a wheel is tested, what the wheel says of itself."""
    beside = Path(__file__).parents[1] / "README.md"
    return beside.read_text() if beside.is_file() else metadata("csc-models").get_payload()


README = _readme()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS, ids=[code.splitlines()[1] for code in BLOCKS])
def test_python_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})


def test_listed_names_and_figures_are_right():
    assert str(list_models("3d_*")) in README
    for name in list_models():
        (row,) = [line for line in README.splitlines() if line.startswith("|") and f"`{name}`" in line]
        try:
            card = model_card(name)
        except MissingExtraError:
            continue  # the library is not installed; where it is, this is checked
        assert f"{card.parameters:,}" in row
        assert f"| {card.receptive_field or 'all'} |" in row
