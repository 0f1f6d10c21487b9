"""Draw each step of post-processing before and after: the pictures in docs/gallery/steps.md.

python docs/draw_steps.py [docs/images/steps]
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure
from scipy import ndimage

from csc_submit import ProcessSettings, process_arrays

VOXEL = (8.0, 8.0, 8.0)
PLANE = 16
Array = npt.NDArray[Any]
Steps = list[Any]


def balls(*places: tuple[float, float, float]) -> Array:
    """Return a mask of balls, each by the y and x of its centre, which lies in the middle plane, and its radius."""
    z, y, x = np.ogrid[: 2 * PLANE, :112, :160]
    near = [(z - PLANE) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 < radius**2 for cy, cx, radius in places]
    return np.asarray(np.any(near, axis=0))


def scene() -> dict[str, Array]:
    """Return probabilities as a briefly trained network gives them: blurred, noisy, with specks, holes and bridges."""
    inside = balls((34, 40, 22), (34, 96, 20), (80, 122, 14))
    inside[PLANE - 2 : PLANE + 2, 32:37, 58:80] = True  # a bridge
    inside[:, 78:82, 122:142] = False  # a notch
    inside &= ~balls((34, 40, 9))  # a hole
    inside |= balls((82, 40, 5), (92, 66, 4), (70, 70, 3), (12, 140, 4))  # specks
    membrane = balls((34, 96, 24), (82, 66, 20)) & ~balls((34, 96, 17))
    noise = np.random.default_rng(0)
    found = {}
    for name, mask in (("mito", inside), ("mito_mem", membrane)):
        sharp = ndimage.gaussian_filter(mask.astype("f4"), 1.0)
        found[name] = np.clip(sharp + 0.9 * ndimage.gaussian_filter(noise.standard_normal(sharp.shape), 1.2), 0, 1)
    return found


def affinities(objects: Array) -> dict[str, Array]:
    """Return true affinities of objects to their next voxels, and to some further off."""
    found = {}
    for offset in OFFSETS:
        other = np.roll(objects, [-step for step in offset], axis=(0, 1, 2))
        same = ndimage.gaussian_filter(((objects == other) & (objects > 0)).astype("f4"), 0.7)
        found[f"mito_affinity_{offset[0]}_{offset[1]}_{offset[2]}"] = same
    return found


OFFSETS = [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [0, -8, 0], [0, 0, -8]]


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    seen = scene()
    mito, both = {"mito": seen["mito"]}, seen
    mask, parts = ["threshold"], ["threshold", "components"]
    places = [(40, 60, 17), (60, 88, 17), (74, 52, 17), (34, 116, 17)]
    objects = np.zeros((2 * PLANE, 112, 160), "u1")
    for number, place in enumerate(places, 1):
        objects[balls(place)] = number
    touching = {"mito": (objects > 0).astype("f4")}
    mutex = {"name": "mutex_watershed", "offsets": OFFSETS}
    draw(folder, "threshold", mito, mask, None)
    draw(folder, "smoothing", mito, [{"name": "smoothing", "sigma_nm": 16}, "threshold"], mask)
    draw(folder, "opening", mito, [*mask, {"name": "opening", "radius_nm": 32}], mask)
    draw(folder, "closing", mito, [*mask, {"name": "closing", "radius_nm": 40}], mask)
    draw(folder, "fill_holes", mito, [*mask, "fill_holes"], mask)
    draw(folder, "components", mito, parts, mask)
    for name, step in SIZES.items():
        draw(folder, name, mito, [*mask, step, "components"], parts)
    draw(folder, "watershed", touching, [*mask, WATERSHED], parts)
    draw(folder, "mutex_watershed", touching | affinities(objects), [*mask, mutex], parts)
    for name in ("inside", "outside", "union"):
        draw(folder, name, both, [*mask, {"name": name, "of": ["mito_mem"]}], mask)


SIZES = {
    "remove_small": {"name": "remove_small", "nm3": 2e5},
    "remove_large": {"name": "remove_large", "nm3": 1.2e7},
    "size_filter": {"name": "size_filter", "min_nm3": 2e5, "max_nm3": 1.2e7},
    "largest_component": "largest_component",
}
WATERSHED = {"name": "watershed", "seed_distance_nm": 100}


def draw(folder: Path, name: str, values: dict[str, Array], steps: Steps, before: Steps | None) -> None:
    """Draw a class with the steps before, or what was predicted, and with all steps."""
    first = done(values, before) if before else values["mito"]
    figure = Figure(figsize=(6.4, 2.5), layout="constrained")
    for panel, picture, title in zip(
        figure.subplots(1, 2), (first, done(values, steps)), ("before", name), strict=True
    ):
        panel.imshow(coloured(picture[PLANE]), interpolation="nearest")
        panel.set_title(title, fontsize=9)
        panel.set_axis_off()
    figure.savefig(folder / f"{name}.png", dpi=80)


def done(values: dict[str, Array], steps: Steps) -> Array:
    others = {name: ["threshold"] for name in values if name != "mito" and "affinity" not in name}
    settings = ProcessSettings(steps={"mito": steps, **others}, instance_classes=[])
    return process_arrays(values, settings, voxel_size=VOXEL)["mito"]


def coloured(values: Array) -> Array:
    """Return greys of probabilities, white of a mask, a colour for each id."""
    if values.dtype.kind == "f":
        return np.repeat(values[..., None], 3, axis=-1)
    colours = colormaps["tab10"](np.arange(10))[:, :3] if values.max() > 1 else np.ones((10, 3))
    return np.where(values[..., None] > 0, colours[values.astype(int) * 3 % 10], 0)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/steps"))
