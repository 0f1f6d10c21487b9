"""The settings of prediction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from csc_data.config.settings import COUNT, NOT_NEGATIVE, Earlier, Given, setting, settings
from csc_data.errors import Problem
from csc_data.geometry import Shape
from csc_data.loader.settings import rising
from csc_train.overrides import Place, Precision


def _within_patch(halo: Shape | None, earlier: Earlier) -> Iterator[Problem]:
    patch = earlier.get("patch_shape")
    for axis, size, margin in zip("zyx", patch, halo, strict=True) if patch and halo else ():
        if 2 * margin >= size:
            yield Problem(where="", what=f"leaves nothing of the patch along {axis} ({size} voxels)")


def _wide_enough(dtype: str | None, earlier: Earlier) -> Iterator[Problem]:
    output = earlier.get("output", "probability")
    if output != "probability" and dtype == "uint8":
        remedy = "store float16 or float32, or probabilities"
        yield Problem(where="", what=f"{output}s do not fit into uint8", remedy=remedy)


@settings
class PredictSettings:
    """The settings of `csc_train.predict`."""

    checkpoint: Given[Literal["best", "latest", "untrained"] | Path, Place] = setting(
        "the best or latest checkpoint, or a file; untrained predicts with random weights", default="best"
    )
    batch_size: int = setting("patches that go through the network together", COUNT, default=8)
    patch_shape: Given[Shape | None, Sequence[int] | None] = setting(
        "voxels (z, y, x) of what the network takes; as in training by default", COUNT, default=None
    )
    halo: Given[Shape | None, Sequence[int] | None] = setting(
        "voxels of context on each side; an eighth of the patch by default", NOT_NEGATIVE, _within_patch, default=None
    )
    output_chunks: Given[Shape | None, Sequence[int] | None] = setting(
        "chunk shape of the output in voxels; what is kept of a patch by default", COUNT, default=None
    )
    output: Literal["probability", "logit", "distance"] = setting(
        "what is stored; distance, and not logit, for networks that give distances", default="probability"
    )
    output_dtype: Literal["uint8", "float16", "float32"] | None = setting(
        "type it is stored in; by default uint8 (255 is 1) for probabilities, else float16", _wide_enough, default=None
    )
    crops: Given[tuple[str, ...] | None, Sequence[str] | None] = setting(
        """test crops to predict, or ["validation"] for those of the datasplit; all test crops by default""",
        default=None,
    )
    raw_range: Given[tuple[float, float] | None, Sequence[float] | None] = setting(
        "for checkpoints that do not store what raw is scaled to; else it must agree", rising, default=None
    )
    device: str | None = setting("cuda, cuda:1, mps or cpu; by default the first there is", default=None)
    precision: Precision = setting("number format, in Lightning Fabric's words", default="32-true")

    @property
    def stored_dtype(self) -> str:
        """The type that is stored."""
        return self.output_dtype or ("uint8" if self.output == "probability" else "float16")
