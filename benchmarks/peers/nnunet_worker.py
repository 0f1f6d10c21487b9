"""What runs in nnU-Net's environment: its preprocessing, training and prediction, on arrays; imports nothing of ours.

``python nnunet_worker.py FOLDER/JOB.json``; nnU-Net's environment variables name folders in FOLDER.
"""

from __future__ import annotations

import json
import random
import resource
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

TRIED = 12  # steps of each of two epochs, to find out what one takes


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def preprocess(folder: Path, plans: dict[str, Any], dataset: dict[str, Any], job: dict[str, Any]) -> float:
    """Let nnU-Net normalise and resample the cases, unless it has; return the CPU seconds it took."""
    place = folder / "preprocessed" / job["dataset"]
    done = place / "preprocessing.json"
    if not done.exists():
        began = cpu_seconds()
        manager = PlansManager(plans)
        configuration = manager.get_configuration(job["configuration"])
        target = place / configuration.data_identifier
        target.mkdir(exist_ok=True)
        for file in sorted((folder / "cases").glob("*.npz")):
            with np.load(file) as case:
                data, labels, properties = DefaultPreprocessor(verbose=False).run_case_npy(
                    case["raw"][None],
                    case["labels"][None],
                    {"spacing": case["spacing"].tolist()},
                    manager,
                    configuration,
                    dataset,
                )
            nnUNetDatasetBlosc2.save_case(
                data.astype(np.float32), labels.astype(np.int16), properties, str(target / file.stem)
            )
        done.write_text(json.dumps(cpu_seconds() - began), "utf-8")
    seconds: float = json.loads(done.read_text("utf-8"))
    return seconds


def make_trainer(plans: dict[str, Any], dataset: dict[str, Any], job: dict[str, Any]) -> Any:
    """Return nnU-Net's own trainer, without what costs time and trains nothing."""
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(job["seed"])
    trainer = nnUNetTrainer(
        {**plans, "continue_training": False}, job["configuration"], 0, dataset, device=torch.device("cpu")
    )
    trainer.num_epochs = job["epochs"]
    trainer.num_iterations_per_epoch = job["iterations"]
    trainer.num_val_iterations_per_epoch = 1  # nothing is chosen by it: the last weights predict
    trainer.logger.plot_progress_png = lambda folder: None
    return trainer


def measure_steps(trainer: Any) -> dict[str, float]:
    """Train for two short epochs; return CPU seconds before the first step, of a step, and of the end of an epoch."""
    marks: list[float] = []
    step = trainer.train_step

    def marked(batch: dict[str, Any]) -> Any:
        result = step(batch)
        marks.append(cpu_seconds())
        return result

    trainer.train_step = marked
    trainer.num_epochs, trainer.num_iterations_per_epoch = 2, TRIED
    began = cpu_seconds()
    trainer.run_training()
    ended = cpu_seconds()
    second = marks[TRIED:]  # the first ones read data and choose kernels
    one = (second[-1] - second[0]) / (len(second) - 1)
    return {"start": max(0.0, marks[0] - began - one), "step": one, "epoch": ended - marks[-1]}


def predict(trainer: Any, folder: Path, *, mirror: bool) -> float:
    """Write the probabilities of the test crops as nnU-Net predicts by default; return the CPU seconds it took."""
    began = cpu_seconds()
    predictor = nnUNetPredictor(device=torch.device("cpu"), use_mirroring=mirror, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (0,), "checkpoint_final.pth")
    (folder / "predictions").mkdir(exist_ok=True)
    for file in sorted((folder / "tests").glob("*.npz")):
        with np.load(file) as case:
            raw, spacing = case["raw"][None].astype(np.float32), case["spacing"].tolist()
        _, probabilities = predictor.predict_single_npy_array(
            raw, {"spacing": spacing}, save_or_return_probabilities=True
        )
        np.save(folder / "predictions" / f"{file.stem}.npy", np.asarray(probabilities, np.float32))
    return cpu_seconds() - began


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    folder = Path(sys.argv[1]).parent
    place = folder / "preprocessed" / job["dataset"]
    plans, dataset = (json.loads((place / f"{name}.json").read_text("utf-8")) for name in (job["plans"], "dataset"))
    report: dict[str, Any] = {"prepare_cpu_seconds": preprocess(folder, plans, dataset, job)}
    trainer = make_trainer(plans, dataset, job)
    if job["measure"]:
        report |= measure_steps(trainer)
    else:
        began = cpu_seconds()
        trainer.run_training()
        report["train_cpu_seconds"] = cpu_seconds() - began
        report["steps"] = trainer.num_epochs * trainer.num_iterations_per_epoch
        report["predict_cpu_seconds"] = predict(trainer, folder, mirror=job["mirror"])
    report["parameters"] = sum(parameter.numel() for parameter in trainer.network.parameters())
    names = ("nnunetv2", "dynamic-network-architectures", "batchgeneratorsv2", "torch", "numpy")
    report["versions"] = {name: version(name) for name in names}
    Path(job["report"]).write_text(json.dumps(report, indent=1), "utf-8")


if __name__ == "__main__":
    main()
