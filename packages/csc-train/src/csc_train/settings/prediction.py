"""The settings of prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from csc_data.config.settings import COUNT, NOT_NEGATIVE, Earlier, Given, Limits, ReadBy, setting, settings
from csc_data.errors import Problem
from csc_data.geometry import Shape
from csc_data.loader.patches.value_transforms import ValueTransform
from csc_data.loader.settings import rising
from csc_train.overrides import Place, Precision


def _within_patch(halo: Shape | None, earlier: Earlier) -> Iterator[Problem]:
    patch = earlier.get("patch_shape")
    for axis, size, margin in zip("zyx", patch, halo, strict=True) if patch and halo else ():
        if 2 * margin >= size:
            yield Problem(where="", what=f"leaves nothing of the patch along {axis} ({size} voxels)")


def _fits_output(dtype: str | None, earlier: Earlier) -> Iterator[Problem]:
    output = earlier.get("output", "probability")
    if output in ("logit", "distance") and dtype == "uint8":
        remedy = "store float16 or float32, or probabilities"
        yield Problem(where="", what=f"{output}s do not fit into uint8", remedy=remedy)
    if output == "mask" and dtype not in (None, "uint8"):
        yield Problem(where="", what="masks are stored as uint8", remedy="leave output_dtype out")


def _of_format_3(shards: Shape | None, earlier: Earlier) -> Iterator[Problem]:
    if shards and earlier.get("output_format") == 2:
        yield Problem(where="", what="zarr format 2 has no shards", remedy="set output_format = 3, too")


def _as_cube(shape: Any) -> Any:
    return [shape] * 3 if isinstance(shape, int) and not isinstance(shape, bool) else shape


@settings
class PredictSettings:
    """The settings of `csc_train.predict`."""

    checkpoint: Given[Literal["best", "latest", "untrained"] | Path, Place] = setting(
        "the best or latest checkpoint, or a file; untrained predicts with random weights", default="best"
    )
    checkpoints: Given[tuple[Path, ...], Sequence[Place]] = setting(
        "several checkpoint files of one network instead of one: their outputs are averaged", default=()
    )
    raw_range: Given[tuple[float, float] | None, Sequence[float] | None] = setting(
        "for checkpoints that do not store what raw is scaled to; else it must agree", rising, default=None
    )
    value_transforms: ValueTransform | None = setting(
        "what is applied to each patch of raw, scaled to raw_range before, ahead of the network", default=None
    )
    batch_size: int | None = setting(
        "patches that go through the network together; by default 8, fewer of large ones and of many classes",
        COUNT,
        default=None,
    )
    patch_shape: Given[Shape | None, Sequence[int] | None] = setting(
        "voxels (z, y, x) of what the network takes; as in training by default", COUNT, default=None
    )
    overlap: float | None = setting(
        "share of a patch along each axis that the next one covers, too, where what they say is blended; by default "
        "0.25, or 0 for networks that take more than they give",
        Limits(ge=0, lt=1),
        default=None,
    )
    blending: Literal["gaussian", "constant"] = setting(
        "how much a patch says towards its border: less and less, or as much as in its middle", default="gaussian"
    )
    halo: Given[Shape | None, Sequence[int] | None] = setting(
        "voxels cut off each side of what the network gives, before blending; by default an eighth of the patch where "
        "overlap is 0, else none, and patches reach an overlap beyond a crop where there is raw",
        NOT_NEGATIVE,
        _within_patch,
        default=None,
    )
    tta: Literal[False, "mirror", "all"] = setting(
        "predict patches also mirrored (8 passes), or mirrored and transposed (16, 48 where all axes have one voxel "
        "size), and average",
        default=False,
    )
    orthoplanes: bool = setting(
        "for networks of planes: predict planes across z, y and x and average; else across z alone", default=True
    )
    crops: Given[tuple[str, ...] | None, Sequence[str] | None] = setting(
        """test crops by id; "test", "validation" (of the datasplit) or "annotated" for all of these; or patterns of """
        """data set and crop, such as "jrc_hela-2/*"; all test crops by default""",
        default=None,
    )
    classes_to_write: Given[tuple[str, ...] | None, Sequence[str] | None] = setting(
        "classes to write, and arrays that lie beside them (mito_affinity_-1_0_0, mito_distance), of what the network "
        "gives; by default classes that are scored in a test crop, or annotated, and their affinities",
        default=None,
    )
    all_classes: bool = setting("write all that the network gives for every crop", default=False)
    output: Literal["probability", "logit", "distance", "mask"] = setting(
        "what is stored; distance, and not logit, for networks that give distances; mask is 1 above the threshold, and "
        "there are masks of classes alone",
        default="probability",
    )
    threshold: float | Mapping[str, float] = setting(
        "the probability above which a voxel belongs to a class, for masks", Limits(gt=0, lt=1), default=0.5
    )
    output_dtype: Literal["uint8", "float16", "float32"] | None = setting(
        "type it is stored in; by default uint8 (255 is 1) for probabilities and masks, else float16",
        _fits_output,
        default=None,
    )
    output_grid: Literal["target", "crop"] = setting(
        "voxels of the network's targets, or averaged onto the grid of the crop, as submissions have it",
        default="target",
    )
    scales: int = setting("levels to write, s0, s1, ..., each half as fine; for viewers", COUNT, default=1)
    output_chunks: Given[Shape | None, Sequence[int] | None] = setting(
        "chunk shape of the output in voxels; chosen by default", COUNT, default=None
    )
    output_format: Literal[2, 3] = setting("format of zarr that is written", default=2)
    shards: Given[Shape | None, int | Sequence[int] | None] = setting(
        "voxels in one file of zarr format 3, which then holds many chunks",
        ReadBy(_as_cube, int | Sequence[int] | None),
        COUNT,
        _of_format_3,
        default=None,
    )
    device: str | None = setting("cuda, cuda:1, mps or cpu; by default the first there is", default=None)
    devices: int = setting("devices of this machine that predict, a process each", COUNT, default=1)
    workers: int = setting("processes that predict on the CPU of this machine", COUNT, default=1)
    precision: Precision = setting("number format, in Lightning Fabric's words", default="32-true")
    compile: bool = setting("compile the network with torch.compile: minutes at first, then faster", default=False)

    @property
    def stored_dtype(self) -> str:
        """The type that is stored."""
        return self.output_dtype or ("uint8" if self.output in ("probability", "mask") else "float16")
