"""``csc validate``: whether the portal takes a submission."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from csc_cli.console import answer, say
from csc_cli.options import config_option, crops_option, json_option
from csc_data.wording import plural

if TYPE_CHECKING:
    from csc_data.config.user_config import Config


@click.command()
@click.argument("submission")
@click.option("--fix", metavar="ZIP", help="Write it anew there, without what can safely be mended.")
@click.option("--labels/--no-labels", default=False, show_default=True, help="Also list every label.")
@crops_option
@json_option
@config_option
def validate(config: Config, submission: str, fix: str | None, labels: bool, crops: list[str] | None) -> None:
    """Tell whether the portal takes SUBMISSION (a zip or a folder), and what it does with each label."""
    from csc_eval import validate_submission
    from csc_eval.command.validating import describe_validation

    report = validate_submission(submission, config=config, crops=crops)
    say(describe_validation(report, labels=labels))
    if fix is not None:
        from csc_submit import fix_submission

        result = fix_submission(submission, fix, config=config)
        say(f"wrote {result.archive}; mended {plural(len(result.fixed), 'fault')}")
        for line in result.left_out:
            say(f"  left out: {line}")
        report = result.report
        say(describe_validation(report, labels=labels))
    answer({"ok": report.ok, "verdict": report.verdict, "validation": report})
    if not report.ok:
        raise click.ClickException("the submission is not as it should be, see above")
