"""Draw a slice of synthetic tissue, its classes, and its objects: the picture in the README.

python docs/draw_synthetic.py [docs/images/synthetic.png]
"""

import sys

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from csc_data.challenge import label_classes
from csc_data.synthetic import generate_tissue

FAMILIES = {
    "extracellular space": ("#e8e4d8", ("ecs",)),
    "plasma membrane": ("#e4572e", ("pm",)),
    "cytosol": ("#f7f3e8", ("cyto",)),
    "mitochondria": ("#2e8b57", ("mito_mem",)),
    "their lumen": ("#8fd6a8", ("mito_lum",)),
    "reticulum": ("#7b4fa3", ("er_mem",)),
    "its lumen": ("#c9aee3", ("er_lum",)),
    "nuclear envelope": ("#1f4e9c", ("ne_mem", "ne_lum", "np_out", "np_in")),
    "chromatin, nucleoplasm": ("#8fb3e8", ("hchrom", "echrom", "nucpl", "nucleo")),
    "vesicles": ("#d81b60", ("ves_mem", "ves_lum")),
    "lipid droplets": ("#f2b134", ("ld_mem", "ld_lum")),
    "Golgi": ("#00a6a6", ("golgi_mem", "golgi_lum")),
    "lysosomes, endosomes, peroxisomes": (
        "#8c5a2b",
        ("lyso_mem", "lyso_lum", "endo_mem", "endo_lum", "perox_mem", "perox_lum"),
    ),
    "glycogen, microtubules": ("#777777", ("glyco", "mt_out", "mt_in")),
}


def main(path: str) -> None:
    tissue = generate_tissue((96, 256, 320), (8, 8, 8), seed=4)
    z = 48
    names = label_classes()
    colours = np.ones((256, 3))
    for colour, members in FAMILIES.values():
        rgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        colours[[names[member].id for member in members]] = rgb
    instances = np.zeros((*tissue.shape[1:], 3))
    palette = colormaps["tab20"](np.arange(20))[:, :3]
    cell, objects = tissue.cells[z], tissue.objects[z]
    instances[cell > 0] = 0.25 + 0.3 * palette[cell[cell > 0] % 20]
    instances[objects > 0] = palette[objects[objects > 0] * 7 % 20]

    figure = Figure(figsize=(13, 4.6), layout="constrained")
    panels = figure.subplots(1, 3)
    pictures = (tissue.raw[z], colours[tissue.atoms[z]], instances)
    for panel, picture, title in zip(panels, pictures, ("raw", "classes", "objects"), strict=True):
        panel.imshow(picture, cmap="gray", vmin=40, vmax=200, interpolation="nearest")
        panel.set_title(title)
        panel.set_axis_off()
    length = 500 / tissue.voxel_size[2]
    panels[0].plot([12, 12 + length], [244, 244], color="white", linewidth=3)
    panels[0].text(12, 238, "500 nm", color="white", fontsize=9)
    handles = [figure.add_artist(_patch(colour)) for colour, _ in FAMILIES.values()]
    figure.legend(handles, FAMILIES, loc="outside lower center", ncols=7, fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
    print(path)


def _patch(colour: str):
    from matplotlib.patches import Rectangle

    return Rectangle((0, 0), 0, 0, facecolor=colour, edgecolor="#999999", linewidth=0.5)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docs/images/synthetic.png")
