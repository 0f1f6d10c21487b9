"""Run by `benchmarks/foreign.py` in an environment of its own: files as other packages write them, and their outputs.

``python foreign_files.py FOLDER`` writes a file, a batch and the network's output for each case, and ``cases.json``;
``golden.json`` is what ``packages/csc-models/tests/data/foreign_networks.json`` holds.
The authors' MedNeXt is left out where it cannot be imported: it is not on PyPI.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

DATASET = "Dataset001_EM"
MEDNEXT = find_spec("nnunet_mednext") is not None


class Files:
    """Cases that were written.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cases: list[dict[str, Any]] = []

    def add(self, name: str, file: str, outputs: tuple[Tensor, Tensor], **hints: Any) -> None:
        """Keep a batch and what the network makes of it."""
        torch.save(outputs, self.folder / f"{name}.outputs")
        self.cases.append({"name": name, "file": file, "hints": hints})


def moved(network: nn.Module) -> nn.Module:
    """Give all weights values by chance, also those that begin with 0 or 1."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


@torch.no_grad()
def outputs(network: Callable[[Tensor], Any], shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return a batch, and the network's largest output for it."""
    batch = torch.randn(1, 1, *shape)
    given = network(batch)
    return batch, given[0] if isinstance(given, list) else given


def plan(kind: str, axes: int, patch: list[int], order: list[int]) -> dict[str, Any]:
    """Return plans as nnU-Net's planners write them, with kernels and strides that differ between axes."""
    flat = [[1, 3, 3], [3, 3, 3], [3, 3, 1], [3, 3, 3]]
    strides = [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 1, 2]]
    counts = "n_blocks_per_stage" if kind == "ResidualEncoderUNet" else "n_conv_per_stage"
    architecture = {
        "n_stages": 4,
        "features_per_stage": [4, 8, 16, 24],
        "conv_op": f"torch.nn.modules.conv.Conv{axes}d",
        "kernel_sizes": [each[-axes:] for each in flat],
        "strides": [each[-axes:] for each in strides],
        counts: [1, 2, 3, 2],
        "n_conv_per_stage_decoder": [2, 1, 1],
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{axes}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    resampling: dict[str, Any] = {}
    for what in ("data", "seg", "probabilities"):
        resampling[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        resampling[f"resampling_fn_{what}_kwargs"] = {}
    return {
        "continue_training": False,
        "dataset_name": DATASET,
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "original_median_spacing_after_transp": [32.0, 8.0, 4.0],
        "transpose_forward": order,
        "transpose_backward": [order.index(axis) for axis in range(3)],
        "foreground_intensity_properties_per_channel": {
            "0": {
                "max": 250.0, "mean": 120.0, "median": 118.0, "min": 3.0,
                "percentile_00_5": 20.0, "percentile_99_5": 230.0, "std": 30.0,
            }
        },
        "configurations": {
            "base": {
                "data_identifier": "cases",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": patch,
                "spacing": [32.0, 8.0, 4.0][-axes:],
                "normalization_schemes": ["ZScoreNormalization"],
                "use_mask_for_norm": [False],
                "batch_dice": False,
                **resampling,
                "architecture": {
                    "network_class_name": f"dynamic_network_architectures.architectures.unet.{kind}",
                    "arch_kwargs": architecture,
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
            },
            "chosen": {"inherits_from": "base"},
        },
    }  # fmt: skip


def write_nnunet(files: Files) -> None:
    """Let nnU-Net's trainer write checkpoints of networks that it built."""
    cases = files.folder / "preprocessed" / DATASET / "cases"
    cases.mkdir(parents=True, exist_ok=True)
    (cases / "case.b2nd").touch()
    os.environ.update({f"nnUNet_{what}": str(files.folder / what) for what in ("raw", "preprocessed", "results")})
    os.environ.update(nnUNet_compile="f")
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    labels = {"background": 0, "mito": 1, "er": 2}
    regions = {"background": 0, "cell": [1, 2], "mito": 2, "ignore": 3}
    for name, kind, patch, order, names in (
        ("nnunet_resenc", "ResidualEncoderUNet", [16, 32, 32], [0, 1, 2], labels),
        ("nnunet_plain_transposed", "PlainConvUNet", [16, 32, 48], [2, 0, 1], labels),
        ("nnunet_plain_2d_regions", "PlainConvUNet", [48, 32], [0, 1, 2], regions),
    ):
        dataset = {"channel_names": {"0": "EM"}, "labels": names, "numTraining": 2, "file_ending": ".tif"}
        dataset["regions_class_order"] = [1, 2]
        plans = plan(kind, len(patch), patch, order)
        trainer = nnUNetTrainer(plans, "chosen", 0, dataset, device=torch.device("cpu"))
        trainer.initialize()
        moved(trainer.network)
        trainer._best_ema = np.float32(0.5)
        trainer.save_checkpoint(str(files.folder / f"{name}.pth"))

        def call(batch: Tensor, network: nn.Module = trainer.network, order: list[int] = order) -> Tensor:
            if batch.ndim < 5:
                return network(batch)[0]
            turned = network(batch.permute(0, 1, *(2 + axis for axis in order)))[0]
            return turned.permute(0, 1, *(2 + order.index(axis) for axis in range(3)))

        # nnU-Net's axes are those of the image in the plan's order; ours are z, y, x.
        shape = [patch[order.index(axis)] for axis in range(3)] if len(patch) == 3 else patch
        files.add(name, f"{name}.pth", outputs(call, tuple(shape)))


def write_mednext(files: Files) -> None:
    """Write weights of the authors' networks, and a checkpoint by one of their trainers with its plans."""
    from nnunet_mednext.network_architecture.mednextv1.create_mednext_v1 import create_mednext_v1
    from nnunet_mednext.training.network_training.MedNeXt import nnUNetTrainerV2_MedNeXt as trainers

    for size, kernel in (("S", 3), ("B", 5), ("M", 3)):
        network = moved(create_mednext_v1(1, 3, size, kernel, True))
        name = f"mednext_{size}_{kernel}"
        torch.save(network.state_dict(), files.folder / f"{name}.pth")
        files.add(name, f"{name}.pth", outputs(network, (32, 32, 32)), classes=["a", "b", "c"])
    stage = {
        "batch_size": 2, "num_pool_per_axis": [4, 4, 4], "patch_size": np.array([32, 32, 48]),
        "current_spacing": np.array([8.0, 8.0, 4.0]), "do_dummy_2D_data_aug": False,
        "pool_op_kernel_sizes": [[2, 2, 2]] * 4, "conv_kernel_sizes": [[3, 3, 3]] * 5,
        "original_spacing": np.array([8.0, 8.0, 4.0]), "median_patient_size_in_voxels": np.array([64, 64, 64]),
    }  # fmt: skip
    plans = {
        "plans_per_stage": {0: stage}, "num_classes": 2, "num_modalities": 1, "all_classes": [1, 2],
        "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2], "base_num_features": 32,
        "normalization_schemes": OrderedDict({0: "CT"}), "use_mask_for_norm": OrderedDict({0: False}),
        "dataset_properties": {"intensityproperties": OrderedDict({0: {"mean": np.float32(120), "sd": 30.0}})},
        "keep_only_largest_region": None, "min_region_size_per_class": None, "min_size_per_class": None,
    }  # fmt: skip
    place = files.folder / "plans.pkl"
    place.write_bytes(pickle.dumps(plans))
    trainer = trainers.nnUNetTrainerV2_MedNeXt_S_kernel3(str(place), 0, str(files.folder), str(files.folder), True, 0)
    trainer.process_plans(plans)
    trainer.initialize_network()
    trainer.initialize_optimizer_and_scheduler()
    moved(trainer.network)
    trainer.save_checkpoint(str(files.folder / "model_best.model"))
    name = "mednext_trainer"
    files.add(name, "model_best.model", outputs(trainer.network, (32, 32, 48)), classes=["mito", "er"])


def unet(**more: Any) -> nn.Module:
    """Return a small network of dynamic-network-architectures."""
    from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet

    return ResidualEncoderUNet(
        1, 3, (4, 8, 16), nn.Conv3d, 3, (1, 2, 2), (1, 2, 2), 3, (1, 1), conv_bias=True, norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True}, **more,
    )  # fmt: skip


UNET = {
    "model": "3d_resenc_unet",
    "arguments": {"features": [4, 8, 16], "blocks": [1, 2, 2]},
    "classes": ["a", "b", "c"],
}


def write_lightning(files: Files) -> None:
    """Train a network for a step in Lightning, beside a loss with weights, and let its trainer save it."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self, folder: Path, rate: float = 1e-3) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net = unet()
            self.loss = nn.Linear(3, 1)

        def training_step(self, batch: Any, index: int) -> Tensor:
            return self.loss(self.net(batch[0]).movedim(1, -1)).mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters())

    module = Module(files.folder)
    trainer = lightning.Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=str(files.folder)
    )
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(1, 1, 16, 16, 16)))
    trainer.fit(module, batches)
    trainer.save_checkpoint(files.folder / "lightning.ckpt")
    files.add("lightning", "lightning.ckpt", outputs(module.net.eval(), (16, 24, 16)), **UNET)


def write_torch(files: Files) -> None:
    """Write averaged and compiled networks, dicts under several names, and the form of files before torch 1.6."""
    network = moved(unet())
    averaged = AveragedModel(network)
    averaged.update_parameters(moved(network))
    averaged.update_parameters(moved(network))
    torch.save(averaged.state_dict(), files.folder / "averaged.pth")
    files.add("averaged", "averaged.pth", outputs(averaged.eval(), (16, 16, 24)), **UNET)
    both = {"network": network.state_dict(), "ema": averaged.state_dict(), "step": np.int64(3), "run": Path("runs")}
    torch.save(both, files.folder / "ema.pth")
    files.add("ema", "ema.pth", outputs(averaged, (16, 16, 24)), **UNET, part="ema")
    compiled = torch.compile(network).state_dict()
    for name in ("net", "network", "weights", "params", "state_dict", "model_state_dict"):
        torch.save(
            {name: compiled, "epoch": 3}, files.folder / f"{name}.pt", _use_new_zipfile_serialization=name != "net"
        )
        files.add(f"compiled_{name}", f"{name}.pt", outputs(network, (16, 16, 24)), **UNET)


def by_formula(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return numbers that the tests of csc-models make, too."""
    phase = sum(ord(letter) for letter in name) % 97
    values = 0.3 * torch.sin(1.7 * torch.arange(math.prod(shape), dtype=torch.float64) + phase)
    return (values + (len(shape) == 1 and name.endswith("weight"))).reshape(shape).float()


@torch.no_grad()
def golden(network: nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return names and shapes of a network's weights, which names are of one weight, and values that it gives."""
    state = network.state_dict()
    first: dict[int, str] = {}
    same = {}
    for key, tensor in state.items():
        same[key] = first.setdefault(tensor.data_ptr(), key)
        tensor.copy_(by_formula(same[key], tuple(tensor.shape)))
    given = network.eval()(by_formula("input", (1, 1, *shape)))
    output = (given[0] if isinstance(given, list) else given).flatten()
    index = list(range(0, len(output), len(output) // 12))
    return {
        "shapes": {key: list(tensor.shape) for key, tensor in state.items()},
        "same": {key: other for key, other in same.items() if key != other},
        "input": list(shape),
        "index": index,
        "value": [round(float(output[place]), 6) for place in index],
    }


def write_golden(folder: Path) -> None:
    """Write what the tests of csc-models compare with: small networks, whose weights are made by formula."""
    networks = {"resenc": (unet(), (16, 12, 8))}
    if MEDNEXT:
        from nnunet_mednext.network_architecture.mednextv1.MedNextV1 import MedNeXt

        for dim, shape in (("2d", (32, 48)), ("3d", (32, 32, 48))):
            network = MedNeXt(1, 4, 3, 2, 3, deep_supervision=True, do_res=True, do_res_up_down=True, dim=dim)
            networks[f"mednext_{dim}"] = network, shape
    found = {name: golden(network, shape) for name, (network, shape) in networks.items()}
    (folder / "golden.json").write_text(json.dumps(found), "utf-8")


def main() -> None:
    torch.manual_seed(0)
    files = Files(Path(sys.argv[1]).resolve())
    write_golden(files.folder)
    write_nnunet(files)
    if MEDNEXT:
        write_mednext(files)
    write_lightning(files)
    write_torch(files)
    (files.folder / "cases.json").write_text(json.dumps(files.cases, indent=1), "utf-8")


if __name__ == "__main__":
    main()
