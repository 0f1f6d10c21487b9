"""``csc visualize``: raw, annotations and results in a browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import click

from csc_cli.commands.visualize.kinds import KINDS, TITLES
from csc_cli.commands.visualize.staying import browser_at, ended_properly, until_the_end
from csc_cli.completing import crop_names, several_of
from csc_cli.console import say
from csc_cli.options import GroupedCommand, class_names_option, parse_names
from csc_cli.stages.experiments import experiment_option

if TYPE_CHECKING:
    from csc_cli.commands.visualize.finding import ShownCrop, Wanted
    from csc_cli.commands.visualize.live import LiveLayers
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
    "What": (
        "datasets",
        "crops",
        "classes",
        "kinds",
        "parts",
        "submission",
        "volume",
        "from_result",
        "truth",
        "chosen",
        "data",
        "use_s3",
    ),
    "How": ("compare", "live", "given_state"),
    "Where": ("viewer", "browser", "bind", "port", "screenshot", "size", "legend", "url_only"),
}


@click.command(cls=GroupedCommand, headings=HEADINGS)
@click.option("-d", "--datasets", metavar="NAMES", callback=parse_names, help="Names or patterns [default: all].")
@click.option(
    "-c",
    "--crops",
    metavar="IDS",
    callback=parse_names,
    shell_complete=several_of(crop_names()),
    help="Ids, patterns like 23*, or test [default: all].",
)
@class_names_option("-C", "--classes", text="Names or patterns [default: all].")
@click.option(
    "-k", "--kinds", metavar="KINDS", callback=_parse_kinds, help=f"Of {', '.join(KINDS)} [default: what is there]."
)
@click.option("--parts", is_flag=True, help="Show the parts of a group class that -C names, instead of it.")
@click.option("-S", "--submission", metavar="PATH", help="A zip or folder [default: that of the configuration].")
@click.option(
    "-s3", "--use-s3", is_flag=True, help="Show raw and annotations of the challenge's bucket, which the browser asks."
)
@click.option(
    "--volume",
    metavar="VOLUME",
    help="Instead of crops: all of a data set, or of a raw volume by its path or URL, and what was predicted for it.",
)
@click.option(
    "--live",
    metavar="NETWORK",
    help="Show what this network says, computed where one looks: a checkpoint, an exported file, or published weights.",
)
@click.option(
    "--compare",
    nargs=2,
    metavar="A B",
    help="Two kinds, or a kind and a submission, side by side, and their difference: A alone is missed, B alone false.",
)
@click.option(
    "--from-result",
    metavar="JSON",
    help="The worst labels of a result_extended.json, with a list of the places where each is wrong.",
)
@click.option("-t", "--truth", metavar="PATH", help="With --from-result: the truth, where it was moved.")
@click.option("--state", "given_state", metavar="FILE", help="Begin as in this file, which the viewer's {} downloads.")
@click.option(
    "--viewer",
    type=click.Choice(["neuroglancer", "napari"]),
    default="neuroglancer",
    show_default=True,
    help="napari opens a window, with the first crop.",
)
@click.option("--browser/--no-browser", default=True, help="Whether to open a browser, where there is one.")
@click.option("--bind", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on [default: one that is free].")
@click.option("--screenshot", metavar="PNG", help="Write a picture of the first crop instead, by headless Chromium.")
@click.option("--legend/--no-legend", default=True, help="Whether it says what the colours mean.")
@click.option("--size", metavar="WxH", default="1280x960", show_default=True, callback=_parse_size, help="Its size.")
@click.option(
    "--url-only",
    is_flag=True,
    help="Print links that show what is in the bucket in the public viewer, and end.",
)
@experiment_option
def visualize(config: Config, compare: tuple[str, str] | None, **options: Any) -> None:
    """Show raw, annotations, predictions and results in a browser.

    Everything that is there by default: a list of crops, and beside it the viewer (Neuroglancer, which comes along, so
    no internet is needed). Raw and the annotations are drawn from the start; the other layers wait in the viewer's
    list. It serves until Ctrl-C.
    """
    _check_options(compare, options)
    sides = None
    if options["from_result"] is not None:
        _show_worst(config, options)
        return
    if compare is not None:
        sides, named = _sides(compare, config)
        options.update(kinds=sides, submission=named or options["submission"])
    wanted = _wanted(options, config)
    shown = _find(config, wanted, options)
    if options["url_only"]:
        _tell_public_links(shown, sides, options["given_state"])
        return
    with ExitStack() as stack:
        stack.enter_context(ended_properly())
        if options["viewer"] == "napari":
            _show_in_napari(shown[0], _live(stack, config, wanted, options))
            return
        view = stack.enter_context(_view(options))
        live = _live(stack, config, wanted, options)
        _serve(view, [(crop.label, _scene_of(crop, sides, live)) for crop in shown], options)


def _show_worst(config: Config, options: Mapping[str, Any]) -> None:
    from csc_cli.commands.visualize.worst import open_worst
    from csc_eval.command.places import raw_of_test_crops

    moved = options["submission"], options["truth"]
    raw = raw_of_test_crops(str(config.root))
    with (
        ended_properly(),
        open_worst(options["from_result"], moved, _wanted(options, config), raw, say) as labels,
        _view(options) as view,
    ):
        _serve(view, [(label.title, label.open) for label in labels], options)


def _view(options: Mapping[str, Any]) -> View:
    from csc_data.view import View

    return View(options["bind"], options["port"])


def _serve(view: View, scenes: Sequence[tuple[str, Callable[[], Scene]]], options: Mapping[str, Any]) -> None:
    """Serve scenes until somebody ends it, or take a picture of one."""
    from csc_data.view import take_screenshot

    for title, opened in scenes:
        view.add_later(title, opened)
    place = "0" if options["given_state"] is None else view.restore(options["given_state"])
    if options["screenshot"] is not None:
        take_screenshot(view, options["screenshot"], place=place, size=options["size"], legend=options["legend"])
        say(f"wrote {options['screenshot']}: {scenes[int(place)][0]}")
        return
    with ExitStack() as stack:
        wait = stack.enter_context(until_the_end())
        _tell_link(view)
        if options["browser"]:
            stack.enter_context(browser_at(view.url))
        wait()


def _check_options(compare: tuple[str, str] | None, options: Mapping[str, Any]) -> None:
    names = ("live", "volume", "from_result", "truth", "given_state", "screenshot")
    given = {name for name in names if options[name] is not None}
    if "from_result" in given and (compare or options["url_only"] or given & {"live", "volume"}):
        raise click.UsageError("--from-result shows truth and submission, --compare and --live others; give one")
    if given & {"from_result", "truth"} == {"truth"}:
        raise click.UsageError("--truth goes with --from-result; `--data` names where truth lies otherwise")
    if compare is not None and given & {"live", "volume"}:
        raise click.UsageError("--compare is for what is stored; leave --live and --volume out")
    if options["url_only"] and options["live"] is not None:
        raise click.UsageError("nothing is computed for the public viewer; leave --live or --url-only out")
    if options["viewer"] == "napari" and (compare or options["url_only"] or given - {"live", "volume"}):
        raise click.UsageError("napari shows a crop as it is, and --live; leave --viewer out, or the others")


def _find(config: Config, wanted: Wanted, options: Mapping[str, Any]) -> list[ShownCrop]:
    """Return what there is to be shown, and say what there is not."""
    from csc_cli.commands.visualize.finding import find_shown, find_volume, results_of_volume, say_missing
    from csc_cli.commands.visualize.opening import open_crop
    from csc_data.splits.search import CropTemplates

    in_bucket = options["use_s3"] or options["url_only"]
    templates = CropTemplates.in_bucket(config) if in_bucket else CropTemplates.below(config)
    if options["volume"] is not None:
        volume = find_volume(options["volume"], templates)
        open_crop(volume, _refuse)
        volume.volumes = results_of_volume(volume, config, wanted)
        return [volume]
    shown = find_shown(config, wanted, say, templates=templates, submission=options["submission"])
    for line in say_missing(shown, wanted if options["live"] is None else replace(wanted, classes=None)):
        say(line)
    return shown


def _live(stack: ExitStack, config: Config, wanted: Wanted, options: Mapping[str, Any]) -> LiveLayers | None:
    from csc_cli.commands.visualize.live import open_live

    if options["live"] is None:
        return None
    return stack.enter_context(open_live(options["live"], config, wanted.class_name, say))


def _show_in_napari(crop: ShownCrop, live: LiveLayers | None) -> None:
    from csc_data.view import show_in_napari

    say(f"napari shows {crop.label}")
    show_in_napari(_scene_of(crop, None, live)().layers, title=crop.label, wait=True)


def _tell_public_links(shown: Sequence[ShownCrop], sides: tuple[str, str] | None, saved: str | None) -> None:
    """Print a link for each crop of which there is something that the public viewer reads."""
    from csc_cli.commands.visualize.public import public_link
    from csc_data.errors import MissingDataError

    links = 0
    for crop in shown:
        link = public_link(crop, _scene_of(crop, sides, None)(), say, saved)
        if link is not None:
            say(f"{crop.label}: {link}")
            links += 1
    if not links:
        raise MissingDataError("nothing of this lies in a public bucket as the viewer reads it; leave --url-only out")


def _wanted(options: Mapping[str, Any], config: Config) -> Wanted:
    from csc_cli.commands.visualize.finding import Wanted, crops_meant
    from csc_data.challenge import load_classes

    return Wanted(
        datasets=options["datasets"] or ("*",),
        crops=crops_meant(options["crops"], config),
        classes=options["classes"],
        kinds=tuple(options["kinds"]),
        parts=options["parts"],
        table=load_classes(config),
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


def _refuse(line: str) -> NoReturn:
    from csc_data.errors import MissingDataError

    raise MissingDataError(line)


def _scene_of(crop: ShownCrop, sides: tuple[str, str] | None, live: LiveLayers | None) -> Callable[[], Scene]:
    def opened() -> Scene:
        from csc_cli.commands.visualize.comparing import compare_crop
        from csc_cli.commands.visualize.opening import open_crop, place_of
        from csc_data.view import Scene

        if sides is not None:
            return compare_crop(crop, sides, say)
        layers = open_crop(crop, say)
        place = place_of(layers if crop.crop else layers[:1])  # all of a volume is too much to begin with
        return Scene(layers=layers if live is None else live.beside(layers), roi=place)

    return opened


def _tell_link(view: View) -> None:
    say(view.url)
    if view.server.bind in ("127.0.0.1", "localhost", "::1"):
        say(
            f"from another machine: ssh -L {view.server.port}:127.0.0.1:{view.server.port} THIS-MACHINE, then that link"
        )
    say("Ctrl-C ends it")
