"""Networks with published weights."""

from __future__ import annotations

from os import PathLike
from typing import Any

from csc_models.catalog import create_model
from csc_models.checkpoint.contents import CheckpointDescription
from csc_models.checkpoint.reading import read_checkpoint
from csc_models.checkpoint.state_dicts import load_weights
from csc_models.nets.cosem_unet import CosemUNet
from csc_models.pretrained.fetching import fetch_pretrained
from csc_models.pretrained.published import pretrained_card


def load_pretrained(
    name: str,
    *,
    n_classes: int | None = None,
    folder: str | PathLike[str] | None = None,
    mirror: str | None = None,
    **arguments: Any,
) -> CosemUNet:
    """Build a network with published weights, which are downloaded unless they are there.

    Parameters
    ----------
    name : str
        A name from `list_pretrained`, such as ``cosem_setup04/1820500``.
    n_classes : int, optional
        Replace the head by a new one for so many other classes; by default the network keeps its own.
    folder, mirror
        As for `fetch_pretrained`, which, called before, can show the progress of a download.
    **arguments
        Arguments of the network, as for `create_model`: ``upsampling_relu``, ``gradient_checkpointing``.

    Returns
    -------
    CosemUNet
        In evaluation mode. `pretrained_card` says what it takes and gives.

    Raises
    ------
    UnknownWeightsError, DownloadError
        As `fetch_pretrained`.
    ModelArgumentError
        The network does not take an argument; the text has the nearest name.
    CheckpointReadError, CheckpointMismatchError
        The file is damaged, or not that of this network; remove it to fetch it again.
    """
    card = pretrained_card(name)
    path = fetch_pretrained(name, folder=folder, mirror=mirror)
    model = create_model(card.model, **arguments)
    assert isinstance(model, CosemUNet)
    load_weights(model, read_checkpoint(path).state, source=str(path))
    return (model if n_classes is None else model.with_head(n_classes)).eval()


def pretrained_description(name: str) -> CheckpointDescription:
    """What a checkpoint says of a network with published weights: classes, arrays, raw range, meaning of the output.

    Examples
    --------
    >>> pretrained_description("cosem_setup45/625000").classes
    ('ecs', 'pm')
    """
    card = pretrained_card(name)
    return CheckpointDescription(
        classes=card.classes,
        input_arrays={"raw": {"shape": list(card.input_shape), "scale": list(card.input_voxel_size)}},
        target_arrays={"labels": {"shape": list(card.output_shape), "scale": list(card.output_voxel_size)}},
        raw_range=card.raw_range,
        values=card.values,
    )
