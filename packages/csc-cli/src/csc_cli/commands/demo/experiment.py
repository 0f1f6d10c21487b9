"""The experiment file that the demo writes and runs, with the settings that suit its synthetic volumes."""

from __future__ import annotations

from pathlib import Path

from csc_data.synthetic.plan import TESTED_CLASSES

FILE_NAME = "train_3D.py"
CLASSES = TESTED_CLASSES

# Doubled braces are the file's own.
_TEXT = '''"""The experiment of `csc demo`: a small 3D U-Net for a laptop. Change it, and run the stages by hand.

`csc settings train`, `csc settings predict` and `csc settings process` list what else can stand here.
"""

from pathlib import Path

HERE = Path(__file__).resolve().parent

# What to learn, at which voxel size (nm; all axes are z, y, x)
classes = {classes!r}
input_array_info = {{"shape": {patch!r}, "scale": {scale!r}}}

# Where things lie
datasplit_path = HERE / "datasplit.csv"
model_save_path = str(HERE / "checkpoints" / "{{model_name}}_{{epoch}}.pth")
logs_save_path = str(HERE / "tensorboard" / "{{model_name}}")

# The network and its training
model_name = "demo_3d_unet"
architecture = "3d_unet_s"
model_kwargs = {model_kwargs!r}
epochs = {epochs}
iterations_per_epoch = {iterations}
batch_size = {batch_size}
learning_rate = {learning_rate}
optimizer = "adamw"
scheduler = "cosine"
warmup_iterations = {warmup}
criterion = "{criterion}"
criterion_kwargs = {{"batch": True}}  # Dice over a whole batch: most small patches lack most classes
weight_loss = {weight_loss}
max_positive_weight = {max_positive_weight}
ema = 0.99  # a running mean of weights and statistics, which a last bad batch cannot spoil
validation_batch_limit = {validation_batches}
random_seed = {seed}
device = "cpu"
precision = "auto"  # bfloat16 where the processor computes with it: a third off each step

# From probabilities to masks and instances
threshold = {threshold!r}
min_voxels = {min_voxels!r}
'''


def experiment_text(*, quick: bool, seed: int) -> str:
    """Return the experiment file of the demo.

    Parameters
    ----------
    quick : bool
        Whether for the smaller volumes, with a few training steps.
    seed : int
        Seed of weights and samples.

    Examples
    --------
    >>> "epochs = 2" in experiment_text(quick=True, seed=0)
    True
    """
    values = {
        "classes": CLASSES,
        "patch": (32, 32, 32) if quick else (40, 40, 40),
        "scale": (8.0, 8.0, 8.0),
        "model_kwargs": {"depth": 4, "norm": "batch"},
        "epochs": 2 if quick else 10,
        "iterations": 20 if quick else 100,
        "batch_size": 2,
        "learning_rate": 5e-3,
        "warmup": 5 if quick else 50,
        "criterion": "bce_dice",
        "weight_loss": True,
        "max_positive_weight": 3.0,
        "validation_batches": 4 if quick else 8,
        "threshold": 0.5,
        "min_voxels": {"ves": 120, "mito": 600},
    }
    return _TEXT.format(**values, seed=seed)


def write_experiment(folder: Path, *, quick: bool, seed: int) -> Path:
    """Write the experiment file, unless it is there: people change it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = write_experiment(Path(folder), quick=True, seed=0)
    ...     _ = file.write_text("changed")
    ...     write_experiment(Path(folder), quick=True, seed=0).read_text()
    'changed'
    """
    file = folder / FILE_NAME
    if not file.exists():
        file.write_text(experiment_text(quick=quick, seed=seed), encoding="utf-8")
    return file
