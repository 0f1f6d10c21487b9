"""Its data set of volumes that are held in memory."""

import random

import numpy as np
from torch.utils.data import Dataset


class CachedVolumeDataset(Dataset):
    """Random patches of volumes: `image` and `label` (1, z, y, x), and `mask` where there are masks."""

    def __init__(
        self, image_paths, label_paths=None, label_aux_paths=None, mask_paths=None, patch_size=(112, 112, 112),
        iter_num=500, transforms=None, pre_cache_transforms=None, mode="train",
    ):  # fmt: skip
        assert mode in ("train", "val")
        paths = {"image": image_paths, "label": label_paths, "mask": mask_paths}
        self.volumes = {name: [np.load(path)[None] for path in given] for name, given in paths.items() if given}
        self.patch_size, self.iter_num = patch_size, iter_num

    def __len__(self):
        return self.iter_num

    def __getitem__(self, index):
        number = random.randrange(len(self.volumes["image"]))
        whole = self.volumes["image"][number].shape[1:]
        begin = [random.randint(0, n - p) for n, p in zip(whole, self.patch_size, strict=True)]
        box = (slice(None), *(slice(b, b + p) for b, p in zip(begin, self.patch_size, strict=True)))
        return {name: volumes[number][box] for name, volumes in self.volumes.items()}
