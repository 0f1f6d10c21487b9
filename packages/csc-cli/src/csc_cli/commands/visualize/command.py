"""``csc visualize``: raw, annotations and results in a browser."""

from __future__ import annotations

import signal
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from csc_cli.commands.visualize.finding import KINDS, Wanted, find_shown, missing_classes
from csc_cli.console import say
from csc_cli.options import config_option, parse_names

if TYPE_CHECKING:
    from csc_cli.commands.visualize.finding import ShownCrop
    from csc_data.config.user_config import Config
    from csc_data.view import View


def _parse_kinds(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str]:
    kinds = parse_names(ctx, param, value) or list(KINDS)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise click.BadParameter(f"there is no kind {unknown[0]!r}; there are {', '.join(KINDS)}", ctx, param)
    return kinds


@click.command()
@click.option("-d", "--datasets", metavar="NAMES", callback=parse_names, help="Names or patterns [default: all].")
@click.option("-c", "--crops", metavar="IDS", callback=parse_names, help="Ids or patterns like 23* [default: all].")
@click.option("-C", "--classes", metavar="NAMES", callback=parse_names, help="Names or patterns [default: all].")
@click.option(
    "-k", "--kinds", metavar="KINDS", callback=_parse_kinds, help=f"Of {', '.join(KINDS)} [default: what is there]."
)
@click.option("--parts", is_flag=True, help="Show the parts of a group class that -C names, instead of it.")
@click.option("-S", "--submission", metavar="PATH", help="A zip or folder [default: that of the configuration].")
@click.option("--browser/--no-browser", default=True, help="Whether to open a browser, where there is one.")
@click.option("--bind", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on [default: one that is free].")
@config_option
def visualize(
    config: Config,
    datasets: list[str] | None,
    crops: list[str] | None,
    classes: list[str] | None,
    kinds: list[str],
    parts: bool,
    submission: str | None,
    browser: bool,
    **where: Any,
) -> None:
    """Show raw, annotations, predictions and results in a browser.

    Everything that is there by default: a list of crops, and beside it the viewer (Neuroglancer, which comes along, so
    no internet is needed). Raw and the annotations are drawn from the start; the other layers wait in the viewer's
    list. It serves until Ctrl-C.
    """
    from csc_data.view import View

    wanted = Wanted(
        datasets=datasets or ("*",), crops=crops or ("*",), classes=classes, kinds=tuple(kinds), parts=parts
    )
    shown = find_shown(config, wanted, submission=submission)
    for line in missing_classes(shown, wanted):
        say(line)
    with View(**where) as view:
        for crop in shown:
            view.add_later(crop.label, _layers_of(crop))
        _tell_link(view, shown, browser)
        _wait()


def _layers_of(crop: ShownCrop) -> Callable[[], Any]:
    def opened() -> Any:
        from csc_cli.commands.visualize.opening import open_crop, view_of

        layers = open_crop(crop, say)
        seen = view_of(layers)
        return layers, None if seen is None else seen.roi

    return opened


def _tell_link(view: View, shown: Sequence[ShownCrop], browser: bool) -> None:
    say(view.url)
    if view.server.bind in ("127.0.0.1", "localhost", "::1"):
        say(
            f"from another machine: ssh -L {view.server.port}:127.0.0.1:{view.server.port} THIS-MACHINE, then that link"
        )
    say("Ctrl-C ends it")
    if browser:
        webbrowser.open(view.url)


def _wait() -> None:
    """Wait for Ctrl-C or SIGTERM, whether or not there is a terminal."""
    with _ending() as ended:
        while not ended.wait(timeout=3600):
            pass


@contextmanager
def _ending() -> Iterator[threading.Event]:
    ended = threading.Event()
    previous = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield ended
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
