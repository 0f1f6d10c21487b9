"""Draw slices of the tissue for pretraining beside its classes, and as four microscopes see it.

python docs/draw_specimen.py [docs/images/specimen.png]
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from csc_data.challenge import label_classes
from csc_data.challenge.colours import class_colour
from csc_data.synthetic.microscopes import MICROSCOPES
from csc_data.synthetic.streaming import SpecimenVolume, draw_tissue

SEED = 1
SLICES = {512: 256, 384: 200}


def main(path: str) -> None:
    figure = Figure(figsize=(9.2, 11.9), layout="constrained")
    rows = figure.subfigures(2, 1, height_ratios=(4, 1.12))
    panels = rows[0].subplots(2, 2)
    for (left, right), (edge, size) in zip(panels, ((512, 8.0), (384, 4.0)), strict=True):
        volume = SpecimenVolume(root=Path(), shape=(edge, edge, edge), voxel_size=(size,) * 3, seed=SEED)
        tissue = draw_tissue(volume, (SLICES[edge], 0, 0), (1, edge, edge))
        _show(left, tissue.raw[0], f"raw, {size:g} nm")
        right.imshow(_colours()[tissue.atoms[0]], interpolation="nearest")
        right.set_title("classes")
        right.set_axis_off()
        left.plot([12, 12 + 500 / size], [edge - 16] * 2, color="white", linewidth=3)
        left.text(12, edge - 24, "500 nm", color="white", fontsize=9)
    for panel, name in zip(rows[1].subplots(1, 4), MICROSCOPES, strict=True):
        volume = SpecimenVolume(root=Path(), shape=(512, 512, 512), seed=SEED, microscope=name)
        _show(panel, draw_tissue(volume, (252, 130, 130), (1, 224, 224)).raw[0], name)
    figure.savefig(path, dpi=100, pil_kwargs={"optimize": True})
    print(path)


def _show(panel, image, title: str) -> None:
    low, high = np.percentile(image, (0.5, 99.5))
    panel.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    panel.set_title(title)
    panel.set_axis_off()


def _colours():
    colours = np.ones((256, 3))
    for name, entry in label_classes().items():
        if not entry.parts:
            colours[entry.id] = np.array(class_colour(name)) / 255
    colours[label_classes()["cyto"].id] = 0.96
    return colours


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docs/images/specimen.png")
