"""Which published weights there are, and what is known about them."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Literal, get_args

from csc_models.errors import UnknownWeightsError
from csc_models.nets.cosem_setups import RAW_RANGE, SETUPS, SetupName
from csc_models.nets.cosem_unet import FACTORS
from csc_models.nets.valid_sizes import output_rule

_PREFIX = "cosem_"
_INPUT_SIZE = 216


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainedCard:
    """Facts about published weights.

    Attributes
    ----------
    name : str
        Network and training iteration, such as ``cosem_setup04/1820500``.
    model : str
        Name of the network in the catalogue.
    classes : tuple of str
        What the output channels stand for, in their order.
    values : {"distance"}
        What the output is: tanh-scaled signed distances, from -1 far outside to 1 deep inside.
    input_shape, output_shape : tuple of int
        Voxels (z, y, x) of a patch and of what the network says about its centre; others work, see `model_card`.
    input_voxel_size, output_voxel_size : tuple of float
        In nm.
    raw_range : tuple of float
        What the ends of the raw type's range (0 and 255 for uint8) are mapped to before the network sees them.
    url : str
        Address of the file.
    relative_path : str
        Where a copy lies below a folder of weights.
    size : int or None
        Bytes of the file, where it is published.
    sha256 : str or None
        Its checksum, where it is published.
    """

    name: str
    model: str
    classes: tuple[str, ...]
    values: Literal["distance"] = "distance"
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    input_voxel_size: tuple[float, float, float]
    output_voxel_size: tuple[float, float, float]
    raw_range: tuple[float, float]
    url: str
    relative_path: str
    size: int | None = None
    sha256: str | None = None

    def __str__(self) -> str:
        shapes = (self.input_shape, self.input_voxel_size, self.output_shape, self.output_voxel_size)
        given, given_nm, output, output_nm = ("x".join(f"{value:g}" for value in shape) for shape in shapes)
        return "\n".join(
            (
                f"{self.name}: published weights for {self.model}",
                f"  classes    {', '.join(self.classes)}",
                f"  input      {given} voxels of {given_nm} nm, raw scaled to {list(self.raw_range)}",
                f"  output     {output} voxels of {output_nm} nm at the centre: signed distances, tanh-scaled to -1..1",
                f"  url        {self.url}",
            )
        )


def list_pretrained(filter: str | None = None) -> list[str]:  # noqa: A002 - as `list_models`
    """Names of all published weights, by network, the longest training first.

    Parameters
    ----------
    filter : str, optional
        A shell pattern such as ``"cosem_setup04/*"``, or a part of the name.

    Examples
    --------
    >>> list_pretrained("setup28")
    ['cosem_setup28/1440000', 'cosem_setup28/775000']
    """
    names = [
        f"{_PREFIX}setup{setup}/{iteration}"
        for setup, iterations in _facts()["iterations"].items()
        for iteration in iterations
    ]
    if filter is None:
        return names
    pattern = filter if any(sign in filter for sign in "*?[") else f"*{filter}*"
    return [name for name in names if fnmatchcase(name, pattern)]


def pretrained_card(name: str) -> PretrainedCard:
    """Facts about published weights: classes, voxel sizes, address.

    Parameters
    ----------
    name : str
        A name from `list_pretrained`; ``setup26_1`` for ``setup26.1``, and a missing ``cosem_``, are understood.

    Raises
    ------
    UnknownWeightsError
        There are none of this name; the text has the nearest.

    Examples
    --------
    >>> card = pretrained_card(list_pretrained("*setup04*")[0])
    >>> card.model, card.output_voxel_size, len(card.classes)
    ('cosem_setup04', (4.0, 4.0, 4.0), 14)
    """
    proper = _proper(name)
    if proper not in list_pretrained():
        raise UnknownWeightsError(name, list_pretrained())
    model, iteration = proper.split("/")
    number = model.removeprefix(f"{_PREFIX}setup")
    key = next(known for known in get_args(SetupName) if known == number)
    setup = SETUPS[key]
    output_size = output_rule(FACTORS, setup.upsampling).size(_INPUT_SIZE)
    facts = _facts()
    file = facts["files"].get(f"setup{number}/{iteration}", {})
    return PretrainedCard(
        name=proper,
        model=model,
        classes=setup.classes,
        input_shape=(_INPUT_SIZE,) * 3,
        output_shape=(output_size,) * 3,
        input_voxel_size=(float(setup.input_nm),) * 3,
        output_voxel_size=(float(setup.output_nm),) * 3,
        raw_range=RAW_RANGE,
        url=facts["address"].format(setup=f"setup{number}", iteration=iteration),
        relative_path=f"{proper}.pth",
        size=file.get("bytes"),
        sha256=file.get("sha256"),
    )


def _proper(name: str) -> str:
    proper = name.replace("26_1", "26.1")
    return proper if proper.startswith(_PREFIX) else _PREFIX + proper


@lru_cache
def _facts() -> dict[str, Any]:
    import tomllib
    from importlib.resources import files

    text = files("csc_models.pretrained").joinpath("weights.toml").read_text(encoding="utf-8")
    facts: dict[str, Any] = tomllib.loads(text)["cosem"]
    return facts
