"""Two of what there is of a crop side by side, and where they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from csc_cli.commands.visualize.finding import ShownCrop, submission_place
from csc_cli.commands.visualize.kinds import KINDS, TITLES
from csc_cli.commands.visualize.opening import open_crop
from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_data.view import Layer, Scene, difference_layer

_MOST_VISIBLE = 1  # one class at a time: three colours tell where it differs


def compare_crop(crop: ShownCrop, kinds: tuple[str, str], tell: Callable[[str], None]) -> Scene:
    """Return two kinds of a crop in views side by side that move together, and a third with their difference.

    Parameters
    ----------
    crop : ShownCrop
    kinds : (str, str)
        Of `KINDS`; the first is what should be.
    tell : callable
        Called with a line for each volume that cannot be opened, and each class that one of them lacks.

    Raises
    ------
    MissingDataError
        If there is no class of which there are both.
    """
    layers = open_crop(crop, tell)
    raw = [layer for layer in layers if layer.kind == "raw"]
    sides = [{layer.class_name: layer for layer in layers if layer.group == TITLES[kind]} for kind in kinds]
    both = [name for name in sides[0] if name in sides[1]]
    for kind, here, there in ((kinds[0], sides[0], sides[1]), (kinds[1], sides[1], sides[0])):
        lacks = [name for name in there if name not in here]
        if lacks:
            tell(f"{crop.label}: there is no {', '.join(lacks)} among its {TITLES[kind]}")
    if not both:
        raise MissingDataError(f"{crop.label}: there is no class of which there are {_words(kinds)}")
    panes: list[list[Layer]] = [list(raw), list(raw), list(raw)]
    for number, name in enumerate(both):
        first, second = sides[0][name], sides[1][name]
        difference = difference_layer(first, second, f"{name}: missed, false, agreed")
        for pane, layer in zip(panes, (first, second, difference), strict=True):
            pane.append(replace(layer, visible=number < _MOST_VISIBLE))
    every = list(raw) + [layer for pane in panes for layer in pane if layer.kind != "raw"]
    return Scene(layers=every, roi=sides[0][both[0]].roi, panes=[[layer.name for layer in pane] for pane in panes])


def parse_side(text: str, config: Config) -> str:
    """Return which kind is meant by a word; a path is taken for a submission.

    Raises
    ------
    InvalidArgumentError
        If it is neither.

    Examples
    --------
    >>> from csc_data import load_config
    >>> parse_side("gt", load_config(environ={}))
    'gt'
    """
    named = {**{kind: kind for kind in KINDS}, **{title: kind for kind, title in TITLES.items()}}
    if text in named:
        return named[text]
    if Path(text).exists():
        return "submission"
    raise InvalidArgumentError(
        f"there is nothing called {text!r} to compare: give {', '.join(named)}, or a submission "
        f"(such as {submission_place(config)})"
    )


def _words(kinds: Sequence[str]) -> str:
    return " and ".join(TITLES[kind] for kind in kinds)
