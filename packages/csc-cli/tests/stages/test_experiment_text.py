import tomllib

from csc_cli.stages.experiment_text import experiment_text, toml_value
from csc_data.fingerprint import Choice

VALUES = {
    "classes": ["mito", "er"],
    "scale": 0.5,
    "count": 3,
    "flag": True,
    "text": 'a "quoted" \\ µm',
    "nested": {"axes": {"x": [0.8, 1.25]}, "odd key.": {}},
    "long": {f"name_{number}": {"probability": 0.25, "axes": ["z", "y"]} for number in range(9)},
}


def test_values_are_read_back_as_they_were():
    choices = [Choice(name=name, value=value, reason=f"why {name}") for name, value in VALUES.items()]
    text = experiment_text(["Title"], [("One", choices[:3]), ("Two", choices[3:])])
    assert tomllib.loads(text) == VALUES
    for name in VALUES:
        assert tomllib.loads(f"a = {toml_value(VALUES[name])}")["a"] == VALUES[name]


def test_reasons_stand_above_in_lines_that_one_can_read():
    choice = Choice(name="long", value=VALUES["long"], reason="because " * 40)
    lines = experiment_text(["Title"], [("One", [choice])]).splitlines()
    assert lines[0] == "# Title"
    assert all(len(line) <= 120 for line in lines)
    first = next(number for number, line in enumerate(lines) if line.startswith("long."))
    assert lines[first - 1].startswith("# because")
    silent = experiment_text([], [("One", [Choice(name="epochs", value=3, reason="")])])
    assert silent.splitlines() == ["", "# One", "epochs = 3"]
