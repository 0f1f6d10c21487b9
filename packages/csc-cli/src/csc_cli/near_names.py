"""Groups of commands that know what was meant by a name that is none."""

from __future__ import annotations

import click

from csc_data.errors import nearest


class NearGroup(click.Group):
    """A group that takes British spellings, and names the nearest command for one that it does not have."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and name the nearest one when there is none."""
        known = self.list_commands(ctx)
        american = args[0].replace("ise", "ize")
        if args[0] not in known and american in known:
            args = [american, *args[1:]]
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            begun = (name for name in known if name.startswith(args[0]))
            near = nearest(args[0], known) or next(begun, None)
            if near is None or near in error.message:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near!r}?", ctx) from error
