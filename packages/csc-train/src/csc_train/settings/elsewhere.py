"""Names that experiments for other toolboxes have and ours do not, and what says the same here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_HERE = {
    "data_base_path": "the data folder is that of `csc config`, of CSC_DATA, or --data",
    "data_root": "the data folder is that of `csc config`, of CSC_DATA, or --data",
    "datasplit_kwargs": "`csc make-datasplit` takes them as options",
    "max_epochs": "epochs",
    "mednext_kernel_size": "model_kwargs = {kernel_size = 5}, or 3, or 7",
    "output_dir": "base_experiment_path",
    "scheduler_config": "scheduler, scheduler_kwargs and warmup_iterations",
    "target_shape": "samples are read at the voxel size of input_array_info",
    "train_batches_per_epoch": "iterations_per_epoch",
    "train_micro_batch_size_per_gpu": "batch_size, which is that of each device",
    "val_batches_per_epoch": "validation_batch_limit",
    "val_loader": "validation_loader",
}


def said_elsewhere(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each name of an experiment that another toolbox would follow, and a line about it."""
    for name in names:
        if name in _HERE:
            yield name, f"{name} is left out; here: {_HERE[name]}"
