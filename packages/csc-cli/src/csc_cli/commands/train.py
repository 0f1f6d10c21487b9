"""``csc train``: fit a network as an experiment file says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from csc_cli.console import INTERRUPTED, answer, say, say_logged
from csc_cli.options import json_option, set_option
from csc_cli.stages.experiments import TRAINING, config_words, experiment_options, next_command
from csc_data.wording import plural

if TYPE_CHECKING:
    from csc_data.config.user_config import Config


def _checkpoint_to_resume(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the value of --resume as the setting load_model has it."""
    return None if value is None else {"auto": "latest", "never": "fresh"}.get(value, value)


def training_options(resume: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add what every command that trains takes; ``resume`` says what --resume is by default."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        options = (
            set_option,
            click.option(
                "--resume",
                "load_model",
                metavar="auto|never|PATH",
                callback=_checkpoint_to_resume,
                help=f"Go on from the latest checkpoint, only begin anew, or begin with a file [default: {resume}].",
            ),
            click.option("--epochs", type=click.IntRange(min=1), help="Epochs in all, instead of the file's."),
            click.option("--device", help="cuda, mps or cpu [default: the first of them that is there]."),
            click.option(
                "--dry-run",
                is_flag=True,
                help="Prove what can be proven, and say what the run would take; train nothing.",
            ),
            json_option,
            experiment_options(TRAINING, may_be_new=True),
        )
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.command()
@training_options(resume="the file's load_model")
def train(experiment: str, config: Config, given: dict[str, Any], dry_run: bool, **options: Any) -> None:
    """Train the network of the experiment file CONFIG (.py or .toml).

    A run that was stopped goes on where it was: Ctrl-C (exit code 130), SIGTERM and SIGUSR1 (exit code 0) save it
    first. `csc settings train` lists what CONFIG, and --set, may say: --set learning_rate=3e-4 --set scheduler=cosine
    --set 'classes=["mito", "er"]'.
    """
    import csc_train
    from csc_cli.stages.post_processing import post_processing
    from csc_data.challenge.current_lists import load_present_test_crops
    from csc_data.config.experiment import read_experiment

    # An option that was left out says nothing of what --set does.
    overrides: Any = given | {name: value for name, value in options.items() if value is not None}
    if dry_run:
        with say_logged("csc_train.training.rehearsal"):
            rehearsal = csc_train.rehearse_training(experiment, config=config, **overrides)
        answer(rehearsal)
        for line in rehearsal.lines:
            say(line)
        say("next: the same without --dry-run")
        return
    read = read_experiment(experiment)
    try:
        # What the loader says of its first batches: how much of each class is known and present in them.
        with say_logged("csc_data.loader.batches"):
            result = csc_train.train(read, config=config, post_process=post_processing(read, config), **overrides)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    answer(result)
    if result.resumed_from and not result.records and not result.stopped:
        say(f"nothing to do: {result.resumed_from} is of the last epoch")
        say("next: raise `epochs` to go on, or choose another `model_name` to train anew")
    elif result.records:
        known = result.best_value is not None and result.best_epoch is not None
        best = f", the best of epoch {result.best_epoch}" if known else ""
        count = plural(len(result.records), "epoch")
        say(f"trained {count} in {result.seconds:.0f} s; checkpoint {result.latest_checkpoint}{best}")
        # The file knows nothing of --set, a checkpoint does.
        network = (str(result.best_checkpoint or result.latest_checkpoint),) if given else config_words()
        # Of one's own data there are no test crops.
        crops = () if load_present_test_crops(config) else ("-c", "validation")
        say(f"next: {next_command('predict', *network, *crops)}")
