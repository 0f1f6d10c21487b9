"""Its configuration: a tree of attributes with defaults; a YAML file changes some."""

from pathlib import Path
from types import SimpleNamespace


class Config:
    def __init__(self):
        self.model = SimpleNamespace(
            arch=SimpleNamespace(type="monai_basic_unet3d"),
            in_channels=1,
            out_channels=1,
            mednext=SimpleNamespace(size="S", kernel_size=3),
            loss=SimpleNamespace(deep_supervision=False),
        )
        self.optimization = SimpleNamespace(max_epochs=1)
        self.resolved_for = None


def load_config(config_path):
    """Its own reads YAML; here a line `max_epochs: N` is all that is understood."""
    config = Config()
    config.optimization.max_epochs = int(Path(config_path).read_text("utf-8").split(":")[1])
    return config


def resolve_default_profiles(cfg, mode="train"):
    cfg.resolved_for = mode
    return cfg
