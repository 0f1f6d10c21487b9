"""A data set of PyTorch Connectomics in our training:  csc train their_data.py

Its volumes are files of image and label (HDF5, TIFF, zarr). Where prediction and post-processing are to follow, convert
them (`csc convert`), and all of the toolbox applies to them; this file is for training on what its loader gives,
augmentations of its own included. It is on no package index, so this was tried with a stand-in that has the interfaces
of its version 2.0 (`CachedVolumeDataset`), not with itself.
"""

import numpy as np
from torch.utils.data import DataLoader, Dataset

classes = ["mito"]
input_array_info = {"shape": (64, 64, 64), "scale": (8, 8, 8)}  # what is in the files; the checkpoint keeps it
batch_size = 2
iterations_per_epoch = 500

VOLUMES = {
    "train": {"image_paths": ["train_image.h5"], "label_paths": ["train_label.h5"]},
    "val": {"image_paths": ["val_image.h5"], "label_paths": ["val_label.h5"]},
}


class TheirSamples(Dataset):
    """Opens their data set when the first sample is asked for, and gives samples as our losses take them."""

    def __init__(self, mode, samples):
        self.mode, self.samples, self.theirs = mode, samples, None

    def __len__(self):
        return self.samples

    def __getitem__(self, index):
        if self.theirs is None:
            from connectomics.data.datasets import CachedVolumeDataset

            patch = input_array_info["shape"]
            self.theirs = CachedVolumeDataset(
                **VOLUMES[self.mode], patch_size=patch, iter_num=self.samples, mode=self.mode
            )
        sample = {name: np.asarray(array) for name, array in self.theirs[index].items()}
        # Grey values of 0 to 255 become 0 to 1, as prediction scales them; ids become 1, and NaN where a mask says so.
        # Their own transforms (transforms=...) may have done the first already: then leave it out.
        target = (sample["label"] > 0).astype(np.float32)
        if "mask" in sample:
            target[sample["mask"] == 0] = np.nan
        return {"input": sample["image"].astype(np.float32) / 255, "output": target}


train_loader = DataLoader(TheirSamples("train", batch_size * iterations_per_epoch), batch_size=batch_size)
validation_loader = DataLoader(TheirSamples("val", 50), batch_size=batch_size)
weight_loss = False  # how much of the class there is, is not known before

model_name = "their_data"
architecture = "3d_unet"
criterion = "bce_dice"
epochs = 100
precision = "bf16-mixed"

if __name__ == "__main__":
    from csc_train import train

    train(__file__)
