"""Networks from random plans of nnU-Net, against those that dynamic-network-architectures builds from the same plans.

    uv run --with dynamic-network-architectures==0.4.4 python benchmarks/plans_networks.py [--plans 20] [--seed 0]

A row per plan: parameters of both, the largest difference of all outputs (with deep supervision, the same random
weights, float32), and the largest output. Keys are theirs without aliases. It ends with 1 unless numbers of parameters
are the same and differences at most 1e-5. With ``--monai`` (and ``--with monai==1.6.1``) rows for DynUNet and
SegResNet follow.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from pydoc import locate
from typing import Any

import torch
from torch import nn

from csc_models import create_model
from csc_models.nets.plans import network_of_plan

BAR = 1e-5
PACKAGE = "dynamic_network_architectures.architectures.unet"
CHANNELS, CLASSES = 2, 3
Plan = dict[str, Any]


def random_strides(rng: random.Random, ndim: int, stages: int) -> list[list[int]]:
    """Halve axes as planners do for voxels that are not cubes: a thick axis less often than the others."""
    thick = rng.choice([0, 0, 1, 2])
    halved = [
        [1 if axis == 0 and stage <= thick else rng.choice([2, 2, 2, 3]) for axis in range(ndim)]
        for stage in range(1, stages)
    ]
    return [[1] * ndim, *halved]


def random_plan(rng: random.Random) -> Plan:
    """Make a configuration; every fourth one as nnU-Net wrote them before 2.4."""
    ndim = rng.choice([2, 3, 3])
    stages = rng.randint(2, 5 if ndim == 3 else 6)
    strides = random_strides(rng, ndim, stages)
    kernels = [[1 if axis == 0 and max(strides[stage]) > min(strides[stage]) else rng.choice([3, 3, 3, 5, 1])
                for axis in range(ndim)] for stage in range(stages)]  # fmt: skip
    base, most = rng.choice([4, 6, 8]), rng.choice([16, 24])
    residual = rng.random() < 0.5
    encoder = [rng.randint(1, 4) for _ in range(stages)]
    decoder = [rng.randint(1, 3) for _ in range(stages - 1)]
    if rng.random() < 0.25:
        return {
            "UNet_class_name": "ResidualEncoderUNet" if residual else "PlainConvUNet",
            "UNet_base_num_features": base, "unet_max_num_features": most,
            "n_conv_per_stage_encoder": encoder, "n_conv_per_stage_decoder": decoder,
            "conv_kernel_sizes": kernels, "pool_op_kernel_sizes": strides,
        }  # fmt: skip
    norm = rng.choice(["instance", "instance", "batch", None])
    nonlinearity = rng.choice(["torch.nn.LeakyReLU", "torch.nn.ReLU", "torch.nn.PReLU", "torch.nn.GELU"])
    dropout = rng.choice([None, f"torch.nn.modules.dropout.Dropout{ndim}d"])
    arguments = {
        "n_stages": stages,
        "features_per_stage": [min(base * 2**stage, most) for stage in range(stages)],
        "conv_op": f"torch.nn.modules.conv.Conv{ndim}d",
        "kernel_sizes": kernels if rng.random() < 0.8 else 3,
        "strides": strides,
        "n_blocks_per_stage" if residual else "n_conv_per_stage": encoder,
        "n_conv_per_stage_decoder": decoder if rng.random() < 0.8 else 2,
        "conv_bias": rng.random() < 0.5,
        "norm_op": norm and f"torch.nn.modules.{norm}norm.{norm.title()}Norm{ndim}d",
        "norm_op_kwargs": rng.choice([{"eps": 1e-5, "affine": True}, {"eps": 1e-3}, None]),
        "dropout_op": dropout,
        "dropout_op_kwargs": dropout and {"p": 0.2},
        "nonlin": nonlinearity,
        "nonlin_kwargs": {"inplace": True} if nonlinearity.endswith("eLU") and "P" not in nonlinearity else None,
    }
    name = "ResidualEncoderUNet" if residual else "PlainConvUNet"
    return {"architecture": {"network_class_name": f"{PACKAGE}.{name}", "arch_kwargs": arguments}}


def theirs(plan: Plan) -> nn.Module:
    """Build their network as nnU-Net does."""
    if "architecture" in plan:
        arguments = dict(plan["architecture"]["arch_kwargs"])
        name = plan["architecture"]["network_class_name"]
        for key in ("conv_op", "norm_op", "dropout_op", "nonlin"):
            arguments[key] = arguments[key] and locate(arguments[key])
    else:
        name = f"{PACKAGE}.{plan['UNet_class_name']}"
        counts, ndim = plan["n_conv_per_stage_encoder"], len(plan["conv_kernel_sizes"][0])
        arguments = {
            "n_stages": len(counts),
            "features_per_stage": [
                min(plan["UNet_base_num_features"] * 2**stage, plan["unet_max_num_features"])
                for stage in range(len(counts))
            ],
            "conv_op": getattr(nn, f"Conv{ndim}d"),
            "kernel_sizes": plan["conv_kernel_sizes"],
            "strides": plan["pool_op_kernel_sizes"],
            "n_conv_per_stage" if "Plain" in name else "n_blocks_per_stage": counts,
            "n_conv_per_stage_decoder": plan["n_conv_per_stage_decoder"],
            "conv_bias": True,
            "norm_op": getattr(nn, f"InstanceNorm{ndim}d"),
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin": nn.LeakyReLU,
            "nonlin_kwargs": {"inplace": True},
        }
    network: nn.Module = locate(name)(input_channels=CHANNELS, num_classes=CLASSES, deep_supervision=True, **arguments)
    return network


def of_plan(plan: Plan) -> tuple[str, nn.Module, nn.Module, torch.Tensor]:
    """Build both networks of a plan and an input that both take."""
    name, arguments = network_of_plan(plan)
    ours = create_model(name, n_channels=CHANNELS, n_classes=CLASSES, deep_supervision=True, **arguments)
    factors = [1] * ours.ndim
    for stride in arguments["strides"]:
        factors = [factor * step for factor, step in zip(factors, stride, strict=True)]
    sizes = [factor * (2 if factor == min(factors) else 1) for factor in factors]
    return name, ours, theirs(plan), torch.rand(2, CHANNELS, *sizes)


def same_key(key: str) -> str | None:
    """Their key in our words, which are theirs but for aliases."""
    return None if key.startswith("decoder.encoder.") or ".all_modules." in key else key


def dynunet_key(key: str) -> str | None:
    """A key of MONAI's DynUNet with four stages in our words."""
    if key.startswith(("skip_layers.", "deep_supervision_heads.")):
        return None
    places = {"input_block": "encoder.stages.0.0", "bottleneck": "encoder.stages.3.0"}
    places |= {f"downsamples.{i}": f"encoder.stages.{i + 1}.0" for i in range(2)}
    places |= {f"upsamples.{i}.conv_block": f"decoder.stages.{i}" for i in range(3)}
    for old, new in places.items():
        if key.startswith(f"{old}."):
            rest = re.sub(
                r"(conv|norm)([12])", lambda m: f"convs.{int(m[2]) - 1}.{m[1]}", key.removeprefix(old), count=1
            )
            return (new + rest).replace(".conv.conv.", ".conv.")
    key = re.sub(r"upsamples\.(\d)\.transp_conv\.conv\.", r"decoder.transpconvs.\1.", key)
    return key.replace("output_block.conv.conv.", "decoder.seg_layers.2.")


def of_monai(name: str) -> tuple[str, nn.Module, nn.Module, torch.Tensor]:
    """Build a network of MONAI, ours, and an input."""
    from monai.networks import nets

    if name == "DynUNet":
        kernels, strides = [3] * 4, [1, [1, 2, 2], 2, 2]
        peer = nets.DynUNet(3, CHANNELS, CLASSES, kernels, strides, strides[1:], filters=[4, 8, 8, 12])
        ours = create_model(
            "3d_dynunet", n_channels=CHANNELS, n_classes=CLASSES, features=(4, 8, 8, 12), kernels=kernels,
            strides=strides, conv_bias=False,
        )  # fmt: skip
    else:
        peer = nets.SegResNet(3, 8, CHANNELS, CLASSES)
        ours = create_model("3d_segresnet", n_channels=CHANNELS, n_classes=CLASSES)
    return f"MONAI's {name}", ours, peer, torch.rand(2, CHANNELS, 16, 32, 32)


def compare(number: int, name: str, ours: nn.Module, peer: nn.Module, x: torch.Tensor) -> bool:
    """Print a row; tell whether the networks are the same."""
    for weights in peer.parameters():  # norms that begin with zeros would hide what is before them
        nn.init.normal_(weights, std=0.5) if weights.ndim < 2 else None
    rename = dynunet_key if "DynUNet" in name else same_key
    ours.load_state_dict({ours_: value for key, value in peer.state_dict().items() if (ours_ := rename(key))})
    counts = [sum(weights.numel() for weights in network.parameters()) for network in (ours, peer)]
    with torch.no_grad():
        outputs = [network.eval()(x) for network in (ours, peer)]
    pairs = list(zip(*[one if isinstance(one, list) else [one] for one in outputs], strict=True))
    difference = max(float((a - b).abs().max()) for a, b in pairs)
    largest = max(float(b.abs().max()) for _, b in pairs)
    good = counts[0] == counts[1] and difference <= BAR
    print(
        f"{number:>2} {name:<16} {tuple(x.shape[2:])!s:<16} {counts[0]:>10,} {counts[1]:>10,} {difference:>9.1e} "
        f"{largest:>8.2f}  {'same' if good else 'DIFFERENT'}"
    )
    return good


def main() -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plans", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--monai", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    rng = random.Random(options.seed)
    print("    network          input              ours     theirs difference  largest")
    good = [compare(number, *of_plan(random_plan(rng))) for number in range(1, options.plans + 1)]
    if options.monai:
        good += [compare(len(good) + 1, *of_monai(name)) for name in ("DynUNet", "SegResNet")]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
