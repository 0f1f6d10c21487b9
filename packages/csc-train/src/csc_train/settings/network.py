"""The settings of the network, and of what its weights begin with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from csc_data.config.settings import Earlier, Given, Names, ReadBy, not_empty, setting, settings
from csc_data.errors import Problem
from csc_train.overrides import Place


def weights_file(pretrained: str | None) -> Path | None:
    """Return the file that ``pretrained`` means; None for the name of published weights.

    >>> weights_file("cosem_setup04/1820500"), str(weights_file("a.pth"))
    (None, 'a.pth')
    """
    if pretrained is None:
        return None
    path = Path(pretrained).expanduser()
    return path if path.is_absolute() or path.suffix in (".pth", ".pt", ".safetensors") else None


def _fitting_weights(name: str | None, earlier: Earlier) -> Iterator[Problem]:
    """Check what published weights need; torch is imported for it, so only where some are asked for."""
    file = weights_file(name)
    if file is not None and not file.is_file():
        remedy = "`csc pretrain` makes such files; `csc models pretrained` lists the names of others"
        yield Problem(where="", what=f"there is no file {file}", remedy=remedy)
    if name is None or file is not None:
        return
    from csc_models.errors import UnknownWeightsError
    from csc_models.pretrained import pretrained_card

    try:
        card = pretrained_card(name)
    except UnknownWeightsError as error:
        yield Problem(where="", what=str(error))
        return
    if earlier.get("model") is not None:
        yield Problem(where="", what="does not go with a model of your own", remedy="leave one of them out")
    if earlier.get("architecture") not in (None, card.model):
        remedy = "name that one as architecture, or leave it out"
        yield Problem(where="", what=f"{card.name} is for {card.model}", remedy=remedy)
    given = earlier.get("raw_range", card.raw_range)
    if given != card.raw_range:
        wanted = list(card.raw_range)
        what = f"{card.name} was trained with raw in {wanted}, not {list(given)}"
        yield Problem(where="", what=what, remedy=f"raw_range = {wanted}")


def _as_text(path: Any) -> Any:
    return os.fspath(path) if isinstance(path, os.PathLike) else path


def _in_lower_case(size: Any) -> Any:
    return size.lower() if isinstance(size, str) else size


def _for_mednext(size: str | None, earlier: Earlier) -> Iterator[Problem]:
    name = earlier.get("architecture") or earlier.get("model_name", "")
    if size is not None and (earlier.get("model") is not None or "mednext" not in name):
        yield Problem(where="", what="is for 3d_mednext and 2d_mednext", remedy="name one of them as architecture")


@settings
class NetworkSettings:
    """Which network learns, and from which weights on."""

    model_name: str = setting(
        "names the checkpoints and logs, and the network if nothing else does", not_empty, default="2d_unet"
    )
    architecture: str | None = setting("name of the network in `csc models`; model_name by default", default=None)
    model_kwargs: Mapping[str, Any] = setting("further arguments of the network", factory=dict)
    model: Any = setting("a torch module to train instead of one from the catalogue", default=None)
    mednext_size: Literal["s", "b", "m", "l"] | None = setting(
        "another way to say model_kwargs = {size = ...} of a MedNeXt",
        ReadBy(_in_lower_case, Literal["S", "B", "M", "L"]),
        _for_mednext,
        default=None,
    )
    deep_supervision: bool = setting(
        "compare the network's coarser outputs with the targets as well; it has to have some", default=False
    )
    gradient_checkpointing: bool = setting(
        "compute parts of the network twice, and hold less: slower, for larger patches", default=False
    )
    load_model: Given[Literal["latest", "best", "fresh"] | Path, Place] = setting(
        "go on from the latest or best checkpoint of this name; or a file to begin with, once; fresh refuses to go on",
        default="latest",
    )
    model_to_load: str | None = setting(
        "name of another run whose weights to begin with (its latest or best, as load_model says)", default=None
    )
    pretrained: str | None = setting(
        "published weights to begin with (`csc models pretrained` lists them); their network is trained unless "
        "architecture names it, with a new head where classes differ. Or a file, as `csc pretrain` makes it, of "
        "which the encoder alone is taken",
        ReadBy(_as_text, str | None),
        _fitting_weights,
        default=None,
    )
    frozen: Names = setting(
        """what the names of weights that stay as they are begin with: ["encoder."]; dropout and running """
        "statistics of these parts rest, too",
        default=(),
    )
