"""``csc visualize``: raw, annotations and results in a browser."""

from __future__ import annotations

import os
import signal
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from csc_cli.commands.visualize.kinds import KINDS, TITLES
from csc_cli.console import say
from csc_cli.options import GroupedCommand, config_option, parse_names

if TYPE_CHECKING:
    from csc_cli.commands.visualize.finding import ShownCrop, Wanted
    from csc_data.config.user_config import Config
    from csc_data.view import Scene, View


def _parse_kinds(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str]:
    kinds = parse_names(ctx, param, value) or list(KINDS)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise click.BadParameter(f"there is no kind {unknown[0]!r}; there are {', '.join(KINDS)}", ctx, param)
    return kinds


def _parse_size(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int]:
    width, times, height = value.partition("x")
    if not (times and width.isdigit() and height.isdigit() and 0 < int(width) <= 8192 and 0 < int(height) <= 8192):
        raise click.BadParameter(f"{value!r} is not a size in pixels, such as 1280x960", ctx, param)
    return int(width), int(height)


HEADINGS = {
    "What": ("datasets", "crops", "classes", "kinds", "parts", "submission", "data", "use_s3"),
    "How": ("compare", "given_state"),
    "Where": ("browser", "bind", "port", "screenshot", "size", "url_only"),
}


@click.command(cls=GroupedCommand, headings=HEADINGS)
@click.option("-d", "--datasets", metavar="NAMES", callback=parse_names, help="Names or patterns [default: all].")
@click.option("-c", "--crops", metavar="IDS", callback=parse_names, help="Ids or patterns like 23* [default: all].")
@click.option("-C", "--classes", metavar="NAMES", callback=parse_names, help="Names or patterns [default: all].")
@click.option(
    "-k", "--kinds", metavar="KINDS", callback=_parse_kinds, help=f"Of {', '.join(KINDS)} [default: what is there]."
)
@click.option("--parts", is_flag=True, help="Show the parts of a group class that -C names, instead of it.")
@click.option("-S", "--submission", metavar="PATH", help="A zip or folder [default: that of the configuration].")
@click.option(
    "-s3", "--use-s3", is_flag=True, help="Show raw and annotations of the challenge's bucket, which the browser asks."
)
@click.option(
    "--compare",
    nargs=2,
    metavar="A B",
    help="Two kinds, or a kind and a submission, side by side, and their difference: A alone is missed, B alone false.",
)
@click.option("--state", "given_state", metavar="FILE", help="Begin as in this file, which the viewer's {} downloads.")
@click.option("--browser/--no-browser", default=True, help="Whether to open a browser, where there is one.")
@click.option("--bind", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on [default: one that is free].")
@click.option("--screenshot", metavar="PNG", help="Write a picture of the first crop instead, by headless Chromium.")
@click.option("--size", metavar="WxH", default="1280x960", show_default=True, callback=_parse_size, help="Its size.")
@click.option(
    "--url-only",
    is_flag=True,
    help="Print links that show what is in the bucket in the public viewer, and end.",
)
@config_option
def visualize(config: Config, compare: tuple[str, str] | None, screenshot: str | None, **options: Any) -> None:
    """Show raw, annotations, predictions and results in a browser.

    Everything that is there by default: a list of crops, and beside it the viewer (Neuroglancer, which comes along, so
    no internet is needed). Raw and the annotations are drawn from the start; the other layers wait in the viewer's
    list. It serves until Ctrl-C.
    """
    from csc_data.view import View, take_screenshot

    sides = None
    if compare is not None:
        sides, named = _sides(compare, config)
        options.update(kinds=sides, submission=named or options["submission"])
    shown = _find(config, options)
    if options["url_only"]:
        _tell_public_links(shown, sides, options["given_state"])
        return
    with View(options["bind"], options["port"]) as view:
        for crop in shown:
            view.add_later(crop.label, _scene_of(crop, sides))
        place = "0" if options["given_state"] is None else view.restore(options["given_state"])
        if screenshot is not None:
            take_screenshot(view, screenshot, place=place, size=options["size"])
            say(f"wrote {screenshot}: {shown[int(place)].label}")
            return
        _tell_link(view, options["browser"])
        _wait()


def _find(config: Config, options: Mapping[str, Any]) -> list[ShownCrop]:
    """Return what there is to be shown, and say what there is not."""
    from csc_cli.commands.visualize.finding import find_shown, say_missing
    from csc_data.splits.search import CropTemplates

    wanted = _wanted(options)
    in_bucket = options["use_s3"] or options["url_only"]
    templates = CropTemplates.in_bucket(config) if in_bucket else CropTemplates.below(config)
    shown = find_shown(config, wanted, say, templates=templates, submission=options["submission"])
    for line in say_missing(shown, wanted):
        say(line)
    return shown


def _tell_public_links(shown: Sequence[ShownCrop], sides: tuple[str, str] | None, saved: str | None) -> None:
    """Print a link for each crop of which there is something that the public viewer reads."""
    from csc_cli.commands.visualize.public import public_link
    from csc_data.errors import MissingDataError

    links = 0
    for crop in shown:
        link = public_link(crop, _scene_of(crop, sides)(), say, saved)
        if link is not None:
            say(f"{crop.label}: {link}")
            links += 1
    if not links:
        raise MissingDataError("nothing of this lies in a public bucket as the viewer reads it; leave --url-only out")


def _wanted(options: Mapping[str, Any]) -> Wanted:
    from csc_cli.commands.visualize.finding import Wanted

    return Wanted(
        datasets=options["datasets"] or ("*",),
        crops=options["crops"] or ("*",),
        classes=options["classes"],
        kinds=tuple(options["kinds"]),
        parts=options["parts"],
    )


def _sides(compare: tuple[str, str], config: Config) -> tuple[tuple[str, str], str | None]:
    """Return which kinds are compared, and the submission that was named."""
    from csc_cli.commands.visualize.comparing import parse_side
    from csc_data.errors import InvalidArgumentError

    first, second = (parse_side(text, config) for text in compare)
    if first == second:
        raise InvalidArgumentError(f"{compare[0]} and {compare[1]} are both {TITLES[first]}; give two kinds")
    paths = [text for text in compare if text not in KINDS and text not in TITLES.values()]
    return (first, second), paths[0] if paths else None


def _scene_of(crop: ShownCrop, sides: tuple[str, str] | None) -> Callable[[], Scene]:
    def opened() -> Scene:
        from csc_cli.commands.visualize.comparing import compare_crop
        from csc_cli.commands.visualize.opening import open_crop, view_of
        from csc_data.view import Scene

        if sides is not None:
            return compare_crop(crop, sides, say)
        layers = open_crop(crop, say)
        seen = view_of(layers)
        return Scene(layers=layers, roi=None if seen is None else seen.roi)

    return opened


def _tell_link(view: View, browser: bool) -> None:
    say(view.url)
    if view.server.bind in ("127.0.0.1", "localhost", "::1"):
        say(
            f"from another machine: ssh -L {view.server.port}:127.0.0.1:{view.server.port} THIS-MACHINE, then that link"
        )
    say("Ctrl-C ends it")
    if browser and _has_windows():
        webbrowser.open(view.url)


def _has_windows() -> bool:
    """Tell whether a browser has somewhere to open a window: without that, one in the terminal would take its place."""
    names = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return sys.platform in ("win32", "darwin") or any(os.environ.get(name) for name in names)


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
