"""``csc pretrain``: weights that know raw, from volumes that nobody annotated."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from csc_cli.commands.train import training_options
from csc_cli.console import INTERRUPTED, answer, say, say_logged
from csc_cli.stages.experiments import config_words, next_command
from csc_data.wording import plural

if TYPE_CHECKING:
    from csc_data.config.user_config import Config


@click.command()
@training_options(resume="auto")
def pretrain(experiment: str, config: Config, given: dict[str, Any], dry_run: bool, **options: Any) -> None:
    """Pretrain the network of the experiment file CONFIG on raw alone: it says what is in blocks that are masked.

    All raw of the data folder counts, or what raw_volumes names; no annotation and no datasplit is needed. Settings are
    those of training, but for what the table pretraining of CONFIG says otherwise; `csc settings pretrain` lists what
    there is besides. A run that was stopped goes on where it was, as that of `csc train`.
    """
    import csc_train
    from csc_data.config.experiment import read_experiment

    overrides: Any = given | {name: value for name, value in options.items() if value is not None}
    if dry_run:
        with say_logged("csc_train.training.rehearsal"):
            rehearsal = csc_train.rehearse_pretraining(experiment, config=config, **overrides)
        answer(rehearsal)
        for line in rehearsal.lines:
            say(line)
        say("next: the same without --dry-run")
        return
    read = read_experiment(experiment)
    try:
        with say_logged("csc_train.training.pretraining"), say_logged("csc_data.loader.batches"):
            result = csc_train.pretrain(read, config=config, **overrides)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    answer(result)
    if result.resumed_from and not result.records and not result.stopped:
        say(f"nothing to do: {result.resumed_from} is of the last epoch")
    elif result.records:
        count = plural(len(result.records), "epoch")
        say(f"pretrained {count} in {result.seconds:.0f} s; checkpoint {result.latest_checkpoint}")
    if result.latest_checkpoint and not result.stopped:
        say(
            f"next: {next_command('train', *config_words(), '--set', f'model_to_load={result.model_name}')}, for all "
            f"weights but the head; or --set pretrained={result.latest_checkpoint}, for the encoder"
        )
