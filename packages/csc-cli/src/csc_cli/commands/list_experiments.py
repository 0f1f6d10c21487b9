"""``csc list``: experiments side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from csc_cli.completing import experiment_names, one_of
from csc_cli.console import answer, say
from csc_cli.options import config_option, json_option
from csc_data.wording import table

if TYPE_CHECKING:
    from csc_cli.stages.experiment_states import ExperimentState
    from csc_data.config.user_config import Config

HEADERS = ("experiment", "state", "best @epoch", "validation", "test")
_LONGEST = 24


@click.command("list")
@click.argument("folders", metavar="[NAME]...", nargs=-1, shell_complete=one_of(experiment_names))
@json_option
@config_option
def list_experiments(folders: Sequence[str], config: Config) -> None:
    """List experiments: how far each is, its best epoch, and its scores on validation and test crops.

    All of the folder experiments by default, or those that NAME: names, or folders elsewhere.
    """
    from csc_cli.stages.experiment_states import find_experiments, read_state

    places = [config.find_experiment(folder) for folder in folders] or [*find_experiments(config)]
    states = [read_state(place, config) for place in places]
    answer(states)
    if not places:
        say(f"there are no experiments in {config.experiments}; `csc new-experiment NAME` makes one")
        return
    say(table(HEADERS, [_row(state) for state in states]))


def _row(state: ExperimentState) -> Sequence[str]:
    best = "-" if state.best is None else f"{state.metric} {state.best:.3f} @{state.best_epoch}"
    scores = (f"{state.scores[kind]:.3f}" if kind in state.scores else "-" for kind in ("validation", "test"))
    name = state.folder.absolute().name
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 3]}...", state.words, best, *scores
