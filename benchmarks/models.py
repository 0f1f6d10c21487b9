"""Parameters, FLOPs, memory and speed of the networks of csc-models, against MONAI's of about the same size.

    python benchmarks/models.py                                        # all; 128^3 in bfloat16 on a GPU, 64^3 on a CPU
    python benchmarks/models.py --networks 3d_unet_s,monai_unet_s --size 32

Each network is measured in a process of its own. A training step is forward, mean binary cross-entropy, backward and
AdamW; FLOPs are those of a forward pass, where a multiplication with an addition counts as two. Memory is the peak of
training steps: allocated on a GPU; of the process, less what it had before the network was built, on a CPU.
`compiled` is torch.compile with channels-last weights and inputs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from csc_models import create_model
from csc_models.specification import without_weights

CLASSES = 14
WARMUPS = 2
REPEATS = 3
KILOBYTE = 1024
PAIRS = {
    "3d_unet": "monai_basic_unet",
    "3d_unet_s": "monai_unet_s",
    "3d_resenc_unet": "monai_dynunet",
    "3d_mednext": "monai_mednext_s",
    "3d_resnet": None,
    "vitnet": "monai_unetr",
}
"""Ours, and MONAI's network of the same kind with equal widths; None where it has none.

MONAI's small U-Net halves the resolution before its first convolution, so that it does half the work of ours.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How networks are measured."""

    size: int
    batch: int
    device: str
    precision: str
    seconds: float
    compiled: bool


def monai_network(name: str, size: int) -> nn.Module:
    """Build a network of MONAI with one input channel."""
    from monai.networks import nets

    relu, leaky = ("relu", {"inplace": True}), ("leakyrelu", {"inplace": True, "negative_slope": 0.01})
    common: dict[str, Any] = {"in_channels": 1, "out_channels": CLASSES}
    if name == "monai_basic_unet":
        widths = (64, 128, 256, 512, 1024, 64)
        return nets.BasicUNet(spatial_dims=3, features=widths, norm="batch", act=relu, bias=False, **common)
    if name == "monai_unet_s":
        return nets.UNet(spatial_dims=3, channels=(16, 32, 64), strides=(2, 2), num_res_units=2, act=relu, **common)
    if name == "monai_dynunet":
        strides = [1, 2, 2, 2, 2, 2]
        return nets.DynUNet(
            spatial_dims=3, kernel_size=[3] * 6, strides=strides, upsample_kernel_size=strides[1:],
            filters=[32, 64, 128, 256, 320, 320], act_name=leaky, res_block=True, **common,
        )  # fmt: skip
    if name == "monai_mednext_s":
        return nets.MedNeXt(
            spatial_dims=3, init_filters=32, kernel_size=3, use_residual_connection=True, blocks_down=(2, 2, 2, 2),
            blocks_up=(2, 2, 2, 2), blocks_bottleneck=2, **common,
        )  # fmt: skip
    return nets.UNETR(img_size=size, feature_size=16, hidden_size=252, mlp_dim=3072, num_heads=12, **common)


def build(name: str, size: int) -> nn.Module:
    """Build a network by its name in the table."""
    if name in PAIRS.values():
        return monai_network(name, size)
    more = {"img_size": (size,) * 3} if name == "vitnet" else {"size": "s"} if name == "3d_mednext" else {}
    return create_model(name, n_channels=1, n_classes=CLASSES, **more)


def count_flops(name: str, conditions: Conditions) -> float:
    """FLOPs of a forward pass of one patch, counted on shapes alone."""
    if name in PAIRS.values():
        with torch.device("meta"):
            model = monai_network(name, conditions.size)
    else:
        with without_weights():
            model = build(name, conditions.size)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(torch.empty(1, 1, *[conditions.size] * 3, device="meta"))
    return float(counter.get_total_flops())


def per_second(action: Callable[[], object], conditions: Conditions) -> float:
    """How often an action runs in a second: the best of many, since other work on the machine only slows."""
    synchronise = torch.cuda.synchronize if conditions.device == "cuda" else (lambda: None)
    for _ in range(WARMUPS):
        action()
    synchronise()
    times: list[float] = []
    while len(times) < REPEATS or sum(times) < conditions.seconds:
        began = time.perf_counter()
        action()
        synchronise()
        times.append(time.perf_counter() - began)
    return 1 / min(times)


def training_step(model: nn.Module, x: torch.Tensor, conditions: Conditions) -> Callable[[], None]:
    """Return a function that trains one step."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    target = torch.rand(x.shape[0], CLASSES, *x.shape[2:], device=x.device).round()

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(conditions.device, dtype=torch.bfloat16, enabled=conditions.precision == "bf16"):
            loss = nn.functional.binary_cross_entropy_with_logits(model(x), target)
        loss.backward()
        optimiser.step()

    return step


def peak_memory(device: str) -> int:
    """Return the largest number of bytes so far: allocated on the GPU, or resident for the process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * KILOBYTE


def measure(name: str, conditions: Conditions) -> dict[str, float]:
    """Measure one network in this process."""
    torch.manual_seed(0)
    found = {"gflops": count_flops(name, conditions) / 1e9}
    before = peak_memory(conditions.device)
    model = build(name, conditions.size).to(conditions.device)
    found["parameters"] = sum(weights.numel() for weights in model.parameters())
    x = torch.rand(conditions.batch, 1, *[conditions.size] * 3, device=conditions.device)

    def forward() -> None:
        with (
            torch.inference_mode(),
            torch.autocast(conditions.device, dtype=torch.bfloat16, enabled=conditions.precision == "bf16"),
        ):
            model(x)

    model.eval()
    found["forward"] = per_second(forward, conditions)
    model.train()
    found["step"] = per_second(training_step(model, x, conditions), conditions)
    found["memory"] = peak_memory(conditions.device) - before
    if conditions.compiled:
        last = torch.channels_last_3d
        fast: Any = torch.compile(model.to(memory_format=last))
        found["compiled"] = per_second(training_step(fast, x.to(memory_format=last), conditions), conditions)
    return found


def measure_apart(name: str, conditions: Conditions) -> dict[str, float]:
    """Measure one network in a process of its own."""
    command = [sys.executable, __file__, "--measure", name, "--conditions", json.dumps(asdict(conditions))]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        print(f"  {name} failed: {lines[-1] if lines else f'exit code {done.returncode}'}", flush=True)
        return {}
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def line(name: str, found: dict[str, float]) -> str:
    """One row of the table."""
    if not found:
        return f"{name:18}  not measured"
    compiled = f"{found['compiled']:9.3f}" if "compiled" in found else f"{'-':>9}"
    return (
        f"{name:18} {found['parameters']:12,.0f} {found['gflops']:10,.1f} {found['memory'] / 1e9:8.2f} "
        f"{found['forward']:9.3f} {found['step']:9.3f} {compiled}"
    )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [name for pair in PAIRS.items() for name in pair if name]
    parser.add_argument("--networks", default=",".join(known), help="names, separated by commas; all by default")
    parser.add_argument("--size", type=int, help="voxels per axis; 128 on a GPU, 64 on a CPU")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=["bf16", "float32"], help="bf16 on a GPU, float32 on a CPU")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to repeat each action, at least 3 times")
    parser.add_argument("--compiled", action=argparse.BooleanOptionalAction, help="torch.compile too; on a GPU it is")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--conditions", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = sorted(set(options.networks.split(",")) - set(known))
    if unknown:
        parser.error(f"unknown networks: {', '.join(unknown)}; there are: {', '.join(known)}")
    return options


def main() -> None:
    """Print the table."""
    options = parse()
    if options.measure:
        print(json.dumps(measure(options.measure, Conditions(**json.loads(options.conditions)))))
        return
    on_gpu = options.device == "cuda"
    conditions = Conditions(
        size=options.size or (128 if on_gpu else 64),
        batch=options.batch,
        device=options.device,
        precision=options.precision or ("bf16" if on_gpu else "float32"),
        seconds=options.seconds,
        compiled=on_gpu if options.compiled is None else options.compiled,
    )
    where = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads (no GPU is used)"
    inputs = f"{conditions.precision}, batch {conditions.batch} of {conditions.size}^3"
    load = f"; load of the machine {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"torch {torch.__version__}, {where}, {inputs}{load}")
    names = options.networks.split(",")
    if importlib.util.find_spec("monai") is None:
        print("MONAI is not installed: its networks are left out (pip install monai==1.6.1)")
        names = [name for name in names if name not in PAIRS.values()]
    print(f"{'network':18} {'parameters':>12} {'GFLOPs':>10} {'GB':>8} {'forward/s':>9} {'step/s':>9} {'compiled':>9}")
    results: dict[str, dict[str, float]] = {}
    for name in names:
        results[name] = measure_apart(name, conditions)
        print(line(name, results[name]), flush=True)
    for ours, theirs in PAIRS.items():
        if theirs and results.get(ours) and results.get(theirs):
            ratio = results[ours]["step"] / results[theirs]["step"]
            print(f"{ours}: {ratio:.2f} times the training steps of {theirs} in the same time")


if __name__ == "__main__":
    main()
