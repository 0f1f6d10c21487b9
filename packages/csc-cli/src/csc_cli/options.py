"""Options that several commands share, and what becomes of them before a command is called."""

from __future__ import annotations

import ast
import functools
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import click

from csc_cli import completing
from csc_cli.console import answering_in_json

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_data.splits.search import CropTemplates

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def split_names(text: str | None) -> list[str] | None:
    """Split names at commas; None stays None.

    >>> split_names("nuc, er")
    ['nuc', 'er']
    """
    if text is None:
        return None
    return [name.strip() for name in text.split(",") if name.strip()]


def parse_names(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str] | None:
    """Split the value of an option at commas.

    Examples
    --------
    >>> parse_names(None, None, "nuc,er")
    ['nuc', 'er']
    """
    return split_names(value)


def parse_scale(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, float, float] | None:
    """Read a voxel size in nm: one number for all axes, or three separated by commas.

    Examples
    --------
    >>> parse_scale(None, None, "8"), parse_scale(None, None, "4,8,8")
    ((8.0, 8.0, 8.0), (4.0, 8.0, 8.0))
    """
    if value is None:
        return None
    try:
        numbers = [float(part) for part in value.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3 or not all(0 < number < float("inf") for number in numbers):
        raise click.BadParameter(f"{value!r} is not a voxel size in nm; give 8, or 4,8,8 for z,y,x", ctx, param)
    return numbers[0], numbers[1], numbers[2]


def parse_shape(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | None:
    """Read a number of voxels: one for all axes, or three separated by commas.

    Examples
    --------
    >>> parse_shape(None, None, "64"), parse_shape(None, None, "1,256,256")
    ([64, 64, 64], [1, 256, 256])
    """
    parts = split_names(value)
    if parts is None:
        return None
    if len(parts) not in (1, 3) or not all(part.isdigit() and int(part) for part in parts):
        raise click.BadParameter(f"{value!r} is not a size in voxels; give 64, or 1,256,256 for z,y,x", ctx, param)
    return [int(part) for part in parts] * (3 if len(parts) == 1 else 1)


def parse_settings(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, Any]:
    """Read settings, NAME=VALUE: a value is TOML, or as a Python file has it, or plain text: names need no quotes.

    Examples
    --------
    >>> parse_settings(None, None, ["epochs=2", "criterion=bce", "patch=[8, 8]"])
    {'epochs': 2, 'criterion': 'bce', 'patch': [8, 8]}
    """
    found: dict[str, Any] = {}
    for text in values:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name.isidentifier():
            raise click.BadParameter(f"{text!r} is not NAME=VALUE, such as learning_rate=1e-4", ctx, param)
        try:
            found[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name] = _read_python(value)
    return found


def _read_python(text: str) -> Any:
    """Return a mapping, a list or a truth value that is written as in a Python experiment; else the text.

    >>> _read_python("{'shape': (8, 8, 8)}"), _read_python("bce")
    ({'shape': (8, 8, 8)}, 'bce')
    """
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, dict | list | tuple | bool) else text


set_option: Decorator = click.option(
    "--set",
    "given",
    metavar="NAME=VALUE",
    multiple=True,
    callback=parse_settings,
    shell_complete=completing.complete_setting,
    help="A setting to go before the file's, as TOML has it; may be repeated.",
)


class GroupedCommand(click.Command):
    """A command whose help lists its options under headings.

    Parameters
    ----------
    headings : mapping
        From a heading to the names of the options below it; the others come last, as "Options".
    """

    def __init__(self, *args: Any, headings: Mapping[str, Sequence[str]], **options: Any) -> None:
        super().__init__(*args, **options)
        self.headings = headings

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, heading by heading."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        records = {param.name: record for param in options if (record := param.get_help_record(ctx))}
        rest = [name for name in records if not any(name in names for names in self.headings.values())]
        for heading, names in {**self.headings, "Options": rest}.items():
            with formatter.section(heading):
                formatter.write_dl([records[name] for name in names])


data_option: Decorator = click.option(
    "--data", metavar="DIR", help="Data folder [default: CSC_DATA, else `data` of `csc config`, else ./data]."
)

crops_option: Decorator = click.option(
    "-c",
    "--crops",
    metavar="IDS",
    callback=parse_names,
    shell_complete=completing.several_of(completing.crop_names(annotated=False)),
    help="Test crops, separated by commas (557 or crop557) [default: all].",
)


def class_names_option(*flags: str, text: str, **more: Any) -> Decorator:
    """Return the option that takes classes, by the flags of a command and what they are for there."""
    complete = completing.several_of(completing.class_names)
    return click.option(*flags, metavar="NAMES", callback=parse_names, shell_complete=complete, help=text, **more)


classes_option: Decorator = class_names_option(
    "-c", "--classes", text="Classes, separated by commas [default: all that are annotated]."
)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json``: what the command gives to `csc_cli.console.answer` is then all that stdout holds."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document; all else goes to stderr.")
    @functools.wraps(command)
    def call(*, as_json: bool, **values: Any) -> Any:
        with answering_in_json() if as_json else nullcontext():
            return command(**values)

    return call


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--data``, and pass the user's configuration, with that data folder, as ``config``."""

    # functools.wraps also hands on the list to which click's decorators add their options.
    @data_option
    @functools.wraps(command)
    def call(*, data: str | None, **values: Any) -> Any:
        from csc_data.config.user_config import load_config

        return command(config=load_config(data=data), **values)

    return call


def existing_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--existing`` and its short form ``--overwrite``, and pass what they say as ``existing``."""

    @click.option(
        "--existing",
        type=click.Choice(["resume", "refuse", "overwrite"]),
        default="resume",
        show_default=True,
        help="What to do with output that is there: go on with it, stop, or start anew.",
    )
    @click.option("-O", "--overwrite", is_flag=True, help="The same as --existing overwrite.")
    @functools.wraps(command)
    def call(*, existing: str, overwrite: bool, **values: Any) -> Any:
        return command(existing="overwrite" if overwrite else existing, **values)

    return call


@dataclass(frozen=True, slots=True, kw_only=True)
class CropSearch:
    """Where annotated crops are looked for, and which of them are wanted.

    Attributes
    ----------
    search_path, raw_name, crop_name : str or None
        As in the official tools; None stands for the path templates of the configuration.
    use_s3 : bool
        Whether in the bucket of the challenge.
    datasets, crops : sequence of str
        Names or patterns.

    Examples
    --------
    >>> from csc_data import load_config
    >>> search = CropSearch(search_path=None, raw_name=None, crop_name=None, use_s3=True, datasets=["*"], crops=["*"])
    >>> search.templates(load_config(environ={})).place
    's3://janelia-cosem-datasets'
    """

    search_path: str | None
    raw_name: str | None
    crop_name: str | None
    use_s3: bool
    datasets: Sequence[str]
    crops: Sequence[str]

    def templates(self, config: Config) -> CropTemplates:
        """Return the places of raw and labels.

        Raises
        ------
        click.UsageError
            If both a bucket and a path were given.
        MissingDataError
            If the crops would be in the data folder and there is none.
        """
        from csc_data.errors import MissingDataError
        from csc_data.splits.search import CropTemplates

        if self.use_s3 and self.search_path:
            raise click.UsageError("give --use-s3 or --search-path, not both")
        if not self.use_s3 and not self.search_path and not config.root.is_dir():
            raise MissingDataError(
                f"there is no data folder {config.root}; `csc fetch-data` makes one, --data names another"
            )
        return CropTemplates.choose(
            config, self.search_path or None, self.raw_name, self.crop_name, in_bucket=self.use_s3
        )


def search_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where annotated crops are looked for, and pass them as one `CropSearch`, ``search``."""

    @click.option(
        "-sp",
        "--search-path",
        metavar="PATH",
        help="Where data sets lie, with {dataset} and {name} [default: the path templates of `csc config`].",
    )
    @click.option("-rn", "--raw-name", metavar="NAME", help="What {name} is for raw [default: em/fibsem-uint8].")
    @click.option(
        "-cn",
        "--crop-name",
        metavar="NAME",
        help="What {name} is for annotations [default: labels/groundtruth/{crop}/{label}].",
    )
    @click.option("-s3", "--use-s3", is_flag=True, help="Use the bucket of the challenge instead of the data folder.")
    @click.option(
        "-ds",
        "--datasets",
        metavar="NAMES",
        callback=_parse_patterns,
        shell_complete=completing.several_of(completing.dataset_names),
        help="Data sets: names or patterns [default: all].",
    )
    @click.option(
        "-cr",
        "--crops",
        metavar="IDS",
        callback=_parse_patterns,
        shell_complete=completing.several_of(completing.crop_names(test=False)),
        help="Crops: ids or patterns like 23* [default: all].",
    )
    @functools.wraps(command)
    def call(**values: Any) -> Any:
        search = CropSearch(**{field.name: values.pop(field.name) for field in fields(CropSearch)})
        return command(search=search, **values)

    return call


def _parse_patterns(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str]:
    return split_names(value) or ["*"]
