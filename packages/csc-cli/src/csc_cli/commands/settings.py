"""``csc settings``: what an experiment file may say."""

from __future__ import annotations

import click

from csc_cli.options import json_option

STAGES = ("pretrain", "train", "predict", "process")


@click.command()
@click.argument("stage", type=click.Choice(STAGES), required=False)
@click.option("--schema", metavar="FILE", type=click.Path(dir_okay=False), help="Write a JSON schema of all stages.")
@json_option
def settings(stage: str | None, schema: str | None) -> None:
    """List what an experiment file may say about a stage: name, default, meaning and type of each setting.

    With --schema a JSON schema is written, by which editors complete and check experiments in TOML: their first line
    then is "#:schema FILE".
    """
    import json
    from pathlib import Path

    from csc_cli.console import answer, say
    from csc_data.config.experiment import announced_settings
    from csc_data.config.reference import describe_settings, experiment_schema

    if stage is None and schema is None:
        raise click.UsageError("name a stage, or a file by --schema")
    stages = announced_settings()
    if schema is not None:
        text = json.dumps(experiment_schema({name: stages[name] for name in STAGES}), indent=2)
        Path(schema).write_text(text + "\n", encoding="utf-8")
        say(f'wrote {schema}; experiments in TOML name it in their first line: "#:schema {schema}"')
    rows = describe_settings(stages[stage]) if stage else ()
    answer(rows)
    for row in rows:
        say(f"{row.name} = {row.default}\n    {row.doc} [{row.type}]")
