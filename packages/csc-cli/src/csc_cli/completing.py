"""What the shell completes: classes, crops, networks, rules, settings and choices, found without torch and numpy."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from csc_data.errors import CscError

if TYPE_CHECKING:
    from csc_data.config.user_config import Config

Names = Callable[[click.Context], Iterable[str]]
Completer = Callable[[click.Context, click.Parameter, str], list[str]]

NETWORKS = (
    "2d_encoder_unet",
    "2d_mednext",
    "2d_plain_unet",
    "2d_resenc_unet",
    "2d_resnet",
    "2d_segresnet",
    "2d_unet",
    "2d_unet_s",
    "3d_encoder_unet",
    "3d_mednext",
    "3d_plain_unet",
    "3d_resenc_unet",
    "3d_resnet",
    "3d_segresnet",
    "3d_unet",
    "3d_unet_s",
    "cosem_setup04",
    "cosem_setup26.1",
    "cosem_setup28",
    "cosem_setup36",
    "cosem_setup45",
    "monai_basic_unet3d",
    "monai_swin_unetr",
    "monai_unet",
    "vitnet",
)
"""Those of csc-models, as importing it would import torch; a test compares them."""

_OVERRIDES = {
    "pretrain": ("csc_train.overrides", "TrainOverrides"),
    "train": ("csc_train.overrides", "TrainOverrides"),
    "predict": ("csc_train.overrides", "PredictOverrides"),
    "submit": ("csc_train.overrides", "PredictOverrides"),
}


def one_of(names: Names) -> Completer:
    """Return what completes a name.

    Examples
    --------
    >>> one_of(lambda ctx: ["mito", "mito_mem", "nuc"])(None, None, "mi")
    ['mito', 'mito_mem']
    """

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        try:
            return [name for name in names(ctx) if name.startswith(incomplete)]
        except (CscError, OSError):  # a shell shows no errors, only what is typed
            return []

    return complete


def several_of(names: Names) -> Completer:
    """Return what completes the last of names that are separated by commas.

    Examples
    --------
    >>> several_of(lambda ctx: ["mito", "mito_mem", "nuc"])(None, None, "nuc,mi")
    ['nuc,mito', 'nuc,mito_mem']
    """
    complete_one = one_of(names)

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        taken = before.split(",")
        return [f"{before}{comma}{name}" for name in complete_one(ctx, param, last) if name not in taken]

    return complete


def class_names(ctx: click.Context) -> Iterable[str]:
    """Return the classes of the challenge and of the data folder."""
    from csc_data.challenge import load_classes

    return list(load_classes(_config(ctx)))


def crop_names(*words: str, test: bool = True, annotated: bool = True) -> Names:
    """Return what names crops by their ids, besides words such as ``all``."""

    def names(ctx: click.Context) -> Iterator[str]:
        from csc_data.challenge.current_lists import load_crop_places, load_test_crops

        config = _config(ctx)
        yield from words
        yield from map(str, sorted(load_crop_places(config)[0]) if annotated else ())
        yield from map(str, sorted(load_test_crops(config)) if test else ())

    return names


def dataset_names(ctx: click.Context) -> Iterable[str]:
    """Return the data sets of the challenge that hold annotated crops, and those of the data folder."""
    from csc_data.challenge.current_lists import load_crop_places

    return sorted({place.dataset for place in load_crop_places(_config(ctx))[0].values()})


def experiment_names(ctx: click.Context) -> Iterable[str]:
    """Return the experiments with a folder of their own."""
    return _config(ctx).experiment_names()


def network_names(ctx: click.Context) -> Iterable[str]:
    """Return the networks of csc-models.

    Examples
    --------
    >>> "3d_unet_s" in network_names(None)
    True
    """
    return NETWORKS


def weights_names(ctx: click.Context) -> Iterator[str]:
    """Return the published weights.

    Examples
    --------
    >>> next(iter(weights_names(None))).startswith("cosem_setup")
    True
    """
    folder = _folder_of("csc_models")
    listed = tomllib.loads((folder / "pretrained" / "weights.toml").read_text("utf-8"))
    for setup, iterations in listed["cosem"]["iterations"].items():
        yield from (f"cosem_setup{setup}/{iteration}" for iteration in iterations)


def model_names(ctx: click.Context) -> Iterator[str]:
    """Return networks and published weights."""
    yield from network_names(ctx)
    yield from weights_names(ctx)


def choice_names(ctx: click.Context) -> Iterable[str]:
    """Return what `csc config set` stores.

    Examples
    --------
    >>> "data" in choice_names(None)
    True
    """
    from dataclasses import fields

    from csc_data.config.user_config import Config

    return [field.name for field in fields(Config)]


def complete_setting(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete NAME= of a setting, and the words that it takes."""
    values = setting_values(str(ctx.command.name))
    name, equals, value = incomplete.partition("=")
    if not equals:
        return [f"{known}=" for known in values if known.startswith(name)]
    words = NETWORKS if name == "architecture" else values.get(name, ())
    return [f"{name}={word}" for word in words if word.startswith(value)]


def setting_values(command: str) -> Mapping[str, tuple[str, ...]]:
    """Return the settings that ``--set`` of a command takes, each with the words among its values.

    >>> setting_values("predict")["blending"]
    ('gaussian', 'constant')
    """
    module, name = _OVERRIDES[command]
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None  # noqa: PT018
    for node in ast.parse(Path(spec.origin).read_bytes()).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            entries = [entry for entry in node.body if isinstance(entry, ast.AnnAssign)]
            return {ast.unparse(entry.target): _words(entry.annotation) for entry in entries}
    return {}


def _words(annotation: ast.expr) -> tuple[str, ...]:
    """Return the texts of Literal[...] in an annotation, and true and false of bool."""
    nodes = list(ast.walk(annotation))
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    is_bool = any(isinstance(node, ast.Name) and node.id == "bool" for node in nodes)
    return (*texts, *(("true", "false") if is_bool else ()))


def _folder_of(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None  # noqa: PT018
    return Path(spec.origin).parent


def _config(ctx: click.Context) -> Config:
    from csc_data.config.user_config import load_config

    return load_config(data=ctx.params.get("data"))
