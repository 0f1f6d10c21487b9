"""The authors' MedNeXt: its weights by our names, what its trainers say, and which size it is.

Source: https://github.com/MIC-DKFZ/MedNeXt, ``nnunet_mednext/network_architecture/mednextv1``
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from csc_models.catalog import create_model
from csc_models.errors import CheckpointError
from csc_models.foreign.facts import Facts
from csc_models.foreign.known_names import StoredArray
from csc_models.foreign.state_dicts import permuted
from csc_models.foreign.torch_files import State, read_plain_pickle
from csc_models.specification import without_weights

_HEAD = "out_0.conv_out.weight"
_LEVELS = 4
# Keys of checkpoints by nnU-Net's first version, in which the authors' trainers are written.
_TRAINER_KEYS = frozenset({"epoch", "state_dict", "plot_stuff", "best_stuff"})


def mednext_names(state: State) -> State | None:
    """Give the weights of the authors' network our names; None if they are not of it.

    Raises
    ------
    CheckpointError
        They are of a variant that there is not here.
    """
    if _HEAD not in state or "enc_block_0.0.conv1.weight" not in state:
        return None
    if any("grn_" in key for key in state):
        raise CheckpointError("these weights are of a MedNeXt with GRN layers (grn=True), which there is not here")
    if "down_0.res_conv.weight" not in state:
        raise CheckpointError("these weights are of a MedNeXt without do_res_up_down, which there is not here")
    named = {}
    for key, value in state.items():
        part, _, rest = key.partition(".")
        name, _, level = part.rpartition("_")
        if name == "out":  # transposed convolutions of one voxel
            swapped = permuted(value, (1, 0, *range(2, value.ndim))) if value.ndim > 1 else value
            named[rest.replace("conv_out", f"heads.{level}")] = swapped
        elif name in _PARTS:
            own, upwards = _PARTS[name]
            named[f"{own}.{_LEVELS - 1 - int(level) if upwards else level}.{rest}"] = value
        elif key != "dummy_tensor":
            named[key] = value
    return named


_PARTS = {"enc_block": ("encoder", False), "down": ("down", False), "up": ("up", True), "dec_block": ("decoder", True)}


def mednext_facts(state: State) -> Facts:
    """Find size and arguments of a MedNeXt by its shapes.

    Parameters
    ----------
    state : mapping
        By our names, see `mednext_names`.

    Raises
    ------
    CheckpointError
        It is none of the published sizes.
    """
    stem, head, kernel = (state[f"{name}.weight"].shape for name in ("stem", "heads.0", "encoder.0.0.conv1"))
    name = f"{len(stem) - 2}d_mednext"
    arguments = {"n_channels": stem[1], "n_classes": head[0], "width": stem[0], "kernel_size": kernel[-1]}
    shapes = {key: tuple(value.shape) for key, value in state.items() if not re.match(r"heads\.[1-9]", key)}
    if kernel[-1] in (3, 5, 7):
        for size in ("s", "b", "m", "l"):
            with without_weights():
                expected = create_model(name, size=size, **arguments).state_dict()
            if {key: tuple(value.shape) for key, value in expected.items()} == shapes:
                return Facts(
                    kind="the authors' MedNeXt",
                    model=name,
                    arguments={"size": size, **arguments},
                    notes=("assumed: do_res=True and norm_type='group', which weights do not tell",),
                )
    raise CheckpointError(
        f"these weights are of a MedNeXt of none of the published sizes: {stem[0]} channels, kernels of {kernel[-1]}, "
        f"{sum(key.endswith('conv1.weight') for key in state)} blocks; there are s, b, m and l, of 3, 5 or 7"
    )


def trainer_facts(contents: Any, path: Path) -> Facts | None:
    """Return what the plans beside a checkpoint of the authors' trainers say: ``model_best.model.pkl``.

    Returns
    -------
    Facts or None
        None for other files. Without the plans only that the output is a softmax with the background first.

    Raises
    ------
    CheckpointReadError
        The plans are damaged.
    """
    if not isinstance(contents, Mapping) or not contents.keys() >= _TRAINER_KEYS:
        return None
    softmax = Facts(kind="a trainer of nnU-Net's first version", values="exclusive", background=0)
    beside = path.with_name(path.name + ".pkl")
    if not beside.is_file():
        return softmax
    try:
        return _planned(read_plain_pickle(beside))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise CheckpointError(f"{beside} is not as nnU-Net's first version writes it: {error!r}") from error


def _planned(info: Any) -> Facts:
    plans, stage = info["plans"], info["init"][5]
    stages = plans["plans_per_stage"]
    chosen = stages[stage] if stage in stages else stages[max(stages)]
    order = [int(axis) for axis in plans.get("transpose_backward", (0, 1, 2))]
    patch = [int(size) for size in _listed(chosen["patch_size"])]
    spacing = [float(size) for size in _listed(chosen["current_spacing"])]
    kind = plans["normalization_schemes"]
    statistics = (plans["dataset_properties"].get("intensityproperties") or {}).get(0) or {}
    raw_range, note = None, "nnU-Net subtracted each image's mean: give what raw becomes (--raw-range)"
    if (kind[0] if 0 in kind else kind.get("0")) == "CT":
        mean, deviation = float(statistics["mean"]), float(statistics["sd"])
        raw_range = (-mean / deviation, (255 - mean) / deviation)
        note = f"raw of 256 grey values less {mean:g}, divided by {deviation:g}; nnU-Net also cuts off its ends"
    return Facts(
        kind=f"{info['name']}, of nnU-Net's first version",
        values="exclusive",
        background=0,
        patch=tuple(patch[axis] for axis in order),
        voxel_size=tuple(spacing[axis] for axis in order),
        raw_range=raw_range,
        axes=tuple(order) if order != [0, 1, 2] else (),
        notes=(f"the plans' spacing {' x '.join(f'{size:g}' for size in spacing)} is taken for nm", note),
    )


def _listed(values: Any) -> list[Any]:
    """A list, of an array of numpy or of another list."""
    return list(values.values if isinstance(values, StoredArray) else values)
