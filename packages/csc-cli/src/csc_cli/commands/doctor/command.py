"""``csc doctor``: what there is, what is missing, and the command that brings it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from csc_cli.commands.doctor.finding import Finding
from csc_cli.console import answer, say
from csc_cli.options import data_option, json_option
from csc_data.wording import table


@click.command()
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the bucket.",
)
@json_option
@data_option
def doctor(data: str | None, timeout: float) -> None:
    """Look at Python, packages, device, disk, bucket and data; say what is missing, and the command that brings it.

    The exit code is 1 if something is missing that training needs. Send its output along when you ask for help.
    """
    found = list(_look(data, timeout))
    missing = [finding for finding in found if finding.state == "missing"]
    answer({"ok": not missing, "findings": found})
    say(table(("", "", "found"), [(finding.state, finding.name, finding.said) for finding in found]))
    for finding in found:
        if finding.remedy:
            say(f"{finding.name}: {finding.remedy}")
    if missing:
        say(f"missing: {', '.join(finding.name for finding in missing)}")
        sys.exit(1)
    say("nothing is missing")


def _look(data: str | None, timeout: float) -> Iterator[Finding]:
    from csc_cli.commands.doctor.bucket import look_at_bucket
    from csc_cli.commands.doctor.data import look_at_config, look_at_data
    from csc_cli.commands.doctor.installed import look_at_packages, look_at_python
    from csc_cli.commands.doctor.machine import look_at_device, look_at_disk, look_at_memory
    from csc_data.config.user_config import load_config

    config = load_config(data=data)
    yield look_at_python()
    yield from look_at_packages()
    yield look_at_device()
    yield look_at_memory()
    yield look_at_disk(config)
    yield look_at_bucket(config, timeout)
    yield look_at_config(data)
    yield from look_at_data(config)
