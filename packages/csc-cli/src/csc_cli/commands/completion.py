"""``csc completion``: what a shell has to run to complete the command."""

from __future__ import annotations

import click

from csc_cli.console import say


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script by which SHELL completes commands, options, classes, crops, networks, rules and settings.

    \b
    bash  eval "$(csc completion bash)" in ~/.bashrc
    zsh   eval "$(csc completion zsh)" in ~/.zshrc, after compinit
    fish  csc completion fish > ~/.config/fish/completions/csc.fish
    """  # noqa: D301 - \b, the character, keeps click from joining lines
    from csc_cli.shells import completion_script

    say(completion_script(click.get_current_context().find_root().command, shell).rstrip())
