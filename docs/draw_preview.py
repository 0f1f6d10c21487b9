"""Draw samples of the synthetic challenge, turned at random: the picture in docs/architecture.md.

python docs/draw_preview.py [docs/images/preview.png]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from csc_data import SplitOptions, load_config, make_datasplit
from csc_data.loader import get_dataloader
from csc_data.loader.preview.drawing import draw_preview
from csc_data.synthetic import write_challenge

CLASSES = ["mito", "er", "nuc", "pm", "ves"]


def main(path: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_challenge(folder)
        split = make_datasplit(load_config(data=folder), SplitOptions(classes=CLASSES))
        loaders = get_dataloader(
            split.rows,
            CLASSES,
            batch_size=1,
            input_array_info={"shape": (64, 64, 64), "scale": (8, 8, 8)},
            spatial_transforms={"mirror": True, "rotate": {"axes": {axis: [-180, 180] for axis in "zyx"}}},
            random_seed=3,
        )
        draw_preview(loaders.train.patches, path, count=8)
    shrink(Path(path))
    print(path)


def shrink(file: Path) -> None:
    """Store it with a palette: fewer greys, but all colours as they are."""
    picture = np.asarray(Image.open(file)).copy()
    grey = (picture == picture[..., :1]).all(axis=-1) & (picture[..., 0] < 252)
    picture[grey] &= 0xFC
    palette, index = np.unique(picture.reshape(-1, 3), axis=0, return_inverse=True)
    image = Image.fromarray(index.reshape(picture.shape[:2]).astype("uint8"), "P")
    image.putpalette(palette.tobytes())
    image.save(file, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docs/images/preview.png")
