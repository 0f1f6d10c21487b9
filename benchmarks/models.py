"""Parameters, FLOPs, memory and speed of the networks of csc-models, against MONAI's of about the same size.

    python benchmarks/models.py                                        # all; 128^3 in bfloat16 on a GPU, 64^3 on a CPU
    python benchmarks/models.py --networks 3d_unet_s,monai_unet_s --size 32
    python benchmarks/models.py --networks families --compiled         # one of each kind, with what torch.compile gains

Each network is measured in a process of its own. A training step is forward, mean binary cross-entropy, backward and
AdamW; FLOPs are those of a forward pass, where a multiplication with an addition counts as two. Memory is the peak of
training steps: allocated on a GPU; of the process, less what it had before the network was built, on a CPU.

`compiled` is torch.compile (inductor) with channels-last weights and inputs: Triton on a GPU; on a CPU C++, for which
inductor takes the compiler that `CXX` names, else g++, and the headers of Python. `gain` is how many times as fast as
the network as it stands that is, forward and training step, `seconds` what compiling both takes, once. `--clock cpu`
counts the seconds of this process instead of those that pass, with one thread: for a machine that others use, too.
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
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from csc_models import create_model, list_models, model_card
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
LARGE = {"cosem_setup04": {"features": (6, 36, 216), "factors": (2, 3)}, "3d_mednext": {"size": "s"}}
"""Arguments of networks that come in sizes, or take too long as they are."""


def families() -> list[str]:
    """One network of each kind: of those that differ only in axes or a suffix, the first in three dimensions."""
    found: dict[str, str] = {}
    for name in sorted(list_models(), key=lambda name: not name.startswith("3d_")):
        found.setdefault(name.removeprefix("2d_").removeprefix("3d_").split("setup")[0], name)
    return sorted(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How networks are measured."""

    size: int
    batch: int
    device: str
    precision: str
    seconds: float
    compiled: bool
    clock: str


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
    return create_model(name, **arguments(name, size))


def edge(name: str, size: int) -> int:
    """Return how many voxels along an axis a network is measured with: those that train on a single patch."""
    return max(size, 64) if name == "vitnet" else size


def arguments(name: str, size: int) -> dict[str, Any]:
    """Return the arguments of a network of ours."""
    more = {"img_size": (edge(name, size),) * 3} if name == "vitnet" else LARGE.get(name, {})
    return {"n_channels": 1, "n_classes": CLASSES, **more}


def patch_shape(name: str, conditions: Conditions) -> tuple[int, ...]:
    """Return the shape of a batch: the next size that the network takes."""
    if name in PAIRS.values():
        return (conditions.batch, 1, *[conditions.size] * 3)
    card = model_card(name, **arguments(name, conditions.size))
    return (conditions.batch, 1, *[card.sizes.fit(edge(name, conditions.size))] * card.ndim)


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
        model.eval()(torch.empty(1, *patch_shape(name, conditions)[1:], device="meta"))
    return float(counter.get_total_flops())


def per_second(action: Callable[[], object], conditions: Conditions) -> float:
    """How often an action runs in a second: the best of many, since other work on the machine only slows."""
    synchronise = torch.cuda.synchronize if conditions.device == "cuda" else (lambda: None)
    for _ in range(WARMUPS):
        action()
    synchronise()
    now = time.process_time if conditions.clock == "cpu" else time.perf_counter
    times: list[float] = []
    while len(times) < REPEATS or sum(times) < conditions.seconds:
        began = now()
        action()
        synchronise()
        times.append(now() - began)
    return 1 / min(times)


def training_step(model: nn.Module, x: torch.Tensor, conditions: Conditions) -> Callable[[], None]:
    """Return a function that trains one step."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    with torch.no_grad():
        target = torch.rand_like(model(x)).round()

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
    x = torch.rand(patch_shape(name, conditions), device=conditions.device)
    model.eval()
    found["forward"] = per_second(forward_pass(model, x, conditions), conditions)
    model.train()
    found["step"] = per_second(training_step(model, x, conditions), conditions)
    found["memory"] = peak_memory(conditions.device) - before
    if conditions.compiled:
        last = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
        fast: Any = torch.compile(model.to(memory_format=last))
        x = x.to(memory_format=last)
        began = time.perf_counter()
        fast.eval()
        forward_pass(fast, x, conditions)()
        fast.train()
        training_step(fast, x, conditions)()
        found["compiling"] = time.perf_counter() - began
        fast.eval()
        found["forward_compiled"] = per_second(forward_pass(fast, x, conditions), conditions)
        fast.train()
        found["compiled"] = per_second(training_step(fast, x, conditions), conditions)
    return found


def forward_pass(model: nn.Module, x: torch.Tensor, conditions: Conditions) -> Callable[[], None]:
    """Return a function that runs the network."""

    def forward() -> None:
        with (
            torch.inference_mode(),
            torch.autocast(conditions.device, dtype=torch.bfloat16, enabled=conditions.precision == "bf16"),
        ):
            model(x)

    return forward


def measure_apart(name: str, conditions: Conditions) -> dict[str, float]:
    """Measure one network in a process of its own."""
    command = [sys.executable, __file__, "--measure", name, "--conditions", json.dumps(asdict(conditions))]
    with tempfile.TemporaryDirectory() as cache:  # what inductor compiled before is not found again
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache, "TMPDIR": cache}
        if conditions.clock == "cpu":
            environment |= {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
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
    compiled = ""
    if "compiled" in found:
        gains = (found["forward_compiled"] / found["forward"], found["compiled"] / found["step"])
        compiled = f"{found['compiled']:9.3f} {gains[0]:5.2f} {gains[1]:5.2f} {found['compiling']:8.0f}"
    return (
        f"{name:18} {found['parameters']:12,.0f} {found['gflops']:10,.1f} {found['memory'] / 1e9:8.2f} "
        f"{found['forward']:9.3f} {found['step']:9.3f} {compiled}"
    )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    pairs = [name for pair in PAIRS.items() for name in pair if name]
    parser.add_argument("--networks", default=",".join(pairs), help="names, separated by commas, or `families`")
    parser.add_argument("--size", type=int, help="voxels per axis; 128 on a GPU, 64 on a CPU")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=["bf16", "float32"], help="bf16 on a GPU, float32 on a CPU")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to repeat each action, at least 3 times")
    parser.add_argument("--compiled", action=argparse.BooleanOptionalAction, help="torch.compile too; on a GPU it is")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="which seconds are counted")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--conditions", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.networks = families() if options.networks == "families" else options.networks.split(",")
    known = {*pairs, *list_models()}
    unknown = sorted(set(options.networks) - known)
    if unknown:
        parser.error(f"unknown networks: {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
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
        clock=options.clock,
    )
    where = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads (no GPU is used)"
    inputs = f"{conditions.precision}, batch {conditions.batch} of {conditions.size}^3"
    load = f"; load of the machine {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"torch {torch.__version__}, {where}, {inputs}{load}")
    names = options.networks
    if importlib.util.find_spec("monai") is None:
        print("MONAI is not installed: its networks are left out (pip install monai==1.6.1)")
        names = [name for name in names if not name.startswith("monai_")]
    columns = f"{'compiled':>9} {'gain':>5} {'gain':>5} {'seconds':>8}" if conditions.compiled else ""
    print(f"{'network':18} {'parameters':>12} {'GFLOPs':>10} {'GB':>8} {'forward/s':>9} {'step/s':>9} {columns}")
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
