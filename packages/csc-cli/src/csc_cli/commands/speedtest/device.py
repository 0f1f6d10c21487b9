"""How fast a small network is trained."""

from __future__ import annotations

from csc_cli.commands.speedtest.limits import Limits, Speed

NETWORK = "3d_unet_s"
PATCH = (64, 64, 64)
BATCH = 1


def measure_device(limits: Limits, device: str | None) -> Speed:
    """Train a small network on random patches for a few steps."""
    from csc_train.plan import measure_step
    from csc_train.settings import TrainSettings

    settings = TrainSettings(
        classes=("mito",),
        architecture=NETWORK,
        input_array_info={"shape": PATCH, "scale": (8, 8, 8)},
        batch_size=BATCH,
        device=device,
    )
    # Where two number formats are tried, each takes its half.
    cost = measure_step(settings, seconds=limits.seconds / 2)
    rate = BATCH / cost.seconds
    shape = "x".join(map(str, PATCH))
    return Speed(
        part="device",
        said=f"{rate:.1f} patches/s of {shape}: training steps of {NETWORK}, {cost.precision}",
        details={"patches_per_second": rate, "network": NETWORK, "patch": PATCH, "batch": BATCH, "step": cost},
    )
