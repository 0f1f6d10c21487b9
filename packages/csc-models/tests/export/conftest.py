import os

import pytest
import torch

from csc_models import create_model
from csc_models.checkpoint import CheckpointDescription

# Read when onnxruntime is imported, which tests do before the package does.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


@pytest.fixture
def description():
    return CheckpointDescription(
        classes=("mito", "er"),
        input_arrays={"raw": {"shape": (64, 64, 64), "scale": (8.0, 4.0, 4.0)}},
        raw_range=(0.0, 1.0),
    )


@pytest.fixture
def build():
    """A function that makes a small network whose outputs are not close to zero."""

    def make(name, n_classes=2, seed=0, **arguments):
        torch.manual_seed(seed)
        model = create_model(name, n_channels=1, n_classes=n_classes, **arguments)
        # Running statistics that differ from those of new networks, so that they are seen to be exported.
        for key, values in model.named_buffers():
            if key.endswith(("running_mean", "running_var")):
                values.uniform_(0.5, 1.5)
        return model

    return make
