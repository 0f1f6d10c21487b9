"""Draw the pictures of the pages on the path, from a finished `csc demo`; the reports' need Chromium.

python docs/draw_path.py csc-demo [docs/images]
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from csc_data import open_volume, read_datasplit

COLOURS = {"train": "#ffb000", "validate": "#40b0ff"}
# Pages of reports, cut to what they show: left, upper, right, lower. What is above tells paths of this machine.
CUTS = {"run": (0, 345, 1100, 1010), "score": (0, 400, 1100, 880), "errors": (0, 1320, 1100, 1960)}


def main(demo: Path, images: Path) -> None:
    draw_split(demo, images / "split.png")
    draw_prediction(demo, images / "prediction.png")
    draw_objects(demo, images / "objects.png")
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run.html")
        csc("report", demo, "--data", demo, "--output", run)
        score = Path(folder, "score.html")
        csc("evaluate", "--data", demo, "--report", score)
        csc("data-preview", demo / "train_3D.py", "--data", demo, "-n", "4", "-o", images / "samples.png")
        photograph(run, images / "run.png", CUTS["run"])
        photograph(score, images / "score.png", CUTS["score"])
        photograph(score, images / "errors.png", CUTS["errors"])
    csc(
        *("visualize", "--data", demo, "--crops", "501", "--classes", "mito", "--compare", "gt", "predictions"),
        *("--size", "1500x500", "--screenshot", images / "viewer.png"),
    )
    for name in ("samples", "run", "score", "errors", "viewer"):
        shrink(images / f"{name}.png")


def draw_split(demo: Path, path: Path) -> None:
    """Draw a plane of raw with the boxes of its annotated crops."""
    rows = [row for row in read_datasplit(demo / "datasplit.csv") if "jrc_synth-1" in row.raw]
    raw = open_volume(rows[0].raw).levels[0]
    grids = {row: open_volume(f"{row.labels}/{row.classes[0]}").levels[0].grid for row in rows}
    middles = [grid.centres(0).mean() for grid in grids.values()]
    z = round((np.mean(middles) - raw.grid.translation[0]) / raw.grid.voxel_size[0])
    figure = Figure(figsize=(7.2, 4), layout="constrained")
    panel = figure.subplots()
    y, x = raw.grid.bounds.begin[1:], raw.grid.bounds.end[1:]
    panel.imshow(np.asarray(raw.array[z, :, :]), cmap="gray", extent=(y[1], x[1], x[0], y[0]), interpolation="nearest")
    for row, grid in grids.items():
        begin, size = grid.bounds.begin, grid.bounds.extent
        panel.add_patch(
            Rectangle((begin[2], begin[1]), size[2], size[1], fill=False, color=COLOURS[row.usage], linewidth=2)
        )
        panel.text(
            begin[2] + 20,
            begin[1] + 30,
            f"{Path(row.labels).name}: {row.usage}",
            color=COLOURS[row.usage],
            size=8,
            va="top",
            backgroundcolor="black",
        )
    panel.set(xlabel="x (nm)", ylabel="y (nm)")
    figure.savefig(path, dpi=110)


def plane_of(demo: Path, folder: str, class_name: str) -> np.ndarray:
    return np.asarray(open_volume(demo / folder / "jrc_synth-1.zarr/crop501" / class_name).levels[0].array[PLANE, :, :])


def raw_plane(demo: Path) -> np.ndarray:
    grid = open_volume(demo / "predictions/jrc_synth-1.zarr/crop501/mito").levels[0].grid
    raw = open_volume(demo / "jrc_synth-1/jrc_synth-1.zarr/recon-1/em/fibsem-uint8")
    return raw.read(grid, order=1)[PLANE]


PLANE = 60


def draw_prediction(demo: Path, path: Path) -> None:
    """Draw raw and the probabilities of four classes."""
    panels = {"raw": raw_plane(demo)}
    panels |= {name: plane_of(demo, "predictions", name) for name in ("mito", "mito_mem", "er_mem", "ves")}
    draw_panels(panels, path, {name: "magma" for name in panels if name != "raw"})


def draw_objects(demo: Path, path: Path) -> None:
    """Draw what becomes of mitochondria."""
    probability, ids = plane_of(demo, "predictions", "mito"), plane_of(demo, "processed", "mito")
    panels = {"raw": raw_plane(demo), "probability": probability, "above a half": probability > 127, "objects": ids}
    draw_panels(panels, path, {"probability": "magma"})


def draw_panels(panels: dict[str, np.ndarray], path: Path, maps: dict[str, str]) -> None:
    figure = Figure(figsize=(2.6 * len(panels), 2.9), layout="constrained")
    for panel, (title, values) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        picture = coloured(values) if title == "objects" else values
        panel.imshow(picture, cmap=maps.get(title, "gray"), interpolation="nearest")
        panel.set_title(title)
        panel.set_axis_off()
    figure.savefig(path, dpi=90)


def coloured(ids: np.ndarray) -> np.ndarray:
    """Return a colour for each id, black where there is none."""
    colours = colormaps["tab20"](np.arange(20))[:, :3]
    return np.where(ids[..., None] > 0, colours[ids.astype(int) * 7 % 20], 0)


def csc(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "csc_cli", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def photograph(page: Path, path: Path, box: tuple[int, int, int, int]) -> None:
    """Take a picture of a page, and cut it."""
    size = f"--window-size=1100,{box[3]}"
    flags = ("--headless", "--no-sandbox", "--hide-scrollbars", size, f"--screenshot={path}")
    subprocess.run(["chromium", *flags, page.as_uri()], check=True, stderr=subprocess.DEVNULL)
    Image.open(path).crop(box).save(path)


def shrink(path: Path) -> None:
    """Store a picture with a palette."""
    Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2] if len(sys.argv) > 2 else "docs/images"))
