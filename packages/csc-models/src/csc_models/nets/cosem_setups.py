"""What the COSEM project's networks were trained for: classes in the order of the output channels, voxel sizes.

Source: Heinrich et al., Whole-cell organelle segmentation in volume electron microscopy, 2021,
https://doi.org/10.1038/s41586-021-03977-3
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SetupName = Literal["04", "26.1", "28", "36", "45"]

RAW_RANGE = (-1.0, 1.0)
"""What the ends of the raw type's range are mapped to before the networks see them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CosemSetup:
    """One of the networks.

    Attributes
    ----------
    classes : tuple of str
        What the output channels stand for; their values are tanh-scaled signed distances, above 0 inside.
    input_nm, output_nm : int
        Voxel sizes, along every axis.
    """

    classes: tuple[str, ...]
    input_nm: int = 8
    output_nm: int = 4

    @property
    def upsampling(self) -> int:
        """Output voxels per input voxel along an axis."""
        return self.input_nm // self.output_nm


SETUPS: dict[SetupName, CosemSetup] = {
    "04": CosemSetup(
        classes=(
            "ecs", "pm", "mito", "mito_mem", "ves", "ves_mem", "endo", "endo_mem", "er", "er_mem", "eres", "nuc",
            "mt", "mt_out",
        )
    ),
    "26.1": CosemSetup(classes=("mito", "mito_mem", "mito_ribo")),
    "28": CosemSetup(classes=("er", "er_mem")),
    "36": CosemSetup(classes=("nuc", "nucleo")),
    "45": CosemSetup(classes=("ecs", "pm"), input_nm=4),
}  # fmt: skip
