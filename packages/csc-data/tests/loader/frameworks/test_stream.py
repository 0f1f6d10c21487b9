"""A stream gives each sample of an epoch once, whoever divides the work: torch, Lightning or Accelerate."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pickle
import socket
import subprocess
import sys

import pytest

from csc_data.geometry import Grid
from csc_data.loader import get_dataloader
from csc_data.splits.split_file import write_datasplit

torch = pytest.importorskip("torch")

from csc_data.loader.frameworks.stream import SampleStream  # noqa: E402

GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(32, 32, 32))
PATCH = {"shape": (8, 8, 8), "scale": (8, 8, 8)}


@pytest.fixture
def rows(world):
    world.write_raw(GRID)
    world.write_labels("mito", GRID)
    return [world.row(["mito"]), world.row(["mito"], usage="validate")]


def load(rows, **options):
    given = {"batch_size": 4, "input_array_info": PATCH, "iterations_per_epoch": 6, **options}
    return get_dataloader(rows, ["mito"], **given)


def inputs(batches):
    return [batch["input"] for batch in batches]


def equal(one, other):
    return len(one) == len(other) and all(map(torch.equal, one, other))


@pytest.mark.parametrize(
    "options",
    [{}, {"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}],
    ids=["alone", "workers", "persistent"],
)
def test_torchs_loader_gives_our_batches_epoch_after_epoch(rows, options):
    ours = load(rows).train
    stream = SampleStream(load(rows).train)
    theirs = torch.utils.data.DataLoader(stream, batch_size=4, **options)
    assert len(theirs) == 6
    epochs = [inputs(ours) for _ in range(3)]
    for epoch in epochs[:2]:
        assert equal(inputs(theirs), epoch)
    stream.set_epoch(1)
    assert equal(inputs(theirs), epochs[1])
    assert equal(inputs(theirs), epochs[2])


def test_an_endless_stream_goes_on_with_the_next_epoch(rows):
    stream = SampleStream(load(rows).train, endless=True)
    samples = list(itertools.islice(stream, 2 * 24))
    expected = torch.cat([batch["input"] for epoch in [load(rows).train] for _ in range(2) for batch in epoch])
    assert torch.equal(torch.stack([sample["input"] for sample in samples]), expected)
    with pytest.raises(TypeError, match="endless"):
        len(stream)


def test_ranks_share_tiles_and_have_samples_of_their_own(rows):
    def samples(batches):
        return [sample.numpy().tobytes() for batch in batches for sample in batch["input"]]

    for name in ("train", "validation"):
        seen, expected = [], []
        for rank in range(2):
            loader = getattr(load(rows, rank=rank, world_size=2), name)
            expected += samples(loader)
            seen += samples(torch.utils.data.DataLoader(SampleStream(loader), batch_size=4, num_workers=2))
        assert sorted(seen) == sorted(expected)
    assert sorted(seen) == sorted(samples(load(rows).validation))


def test_it_is_sent_to_workers_that_are_started_anew(rows):
    stream = SampleStream(load(rows).train)
    assert equal(inputs(pickle.loads(pickle.dumps(stream))), inputs(stream))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # Lightning's own
def test_lightning_takes_loaders_as_they_are_and_each_epoch_is_new(rows, tmp_path):
    lightning = pytest.importorskip("pytorch_lightning")

    class Network(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv3d(1, 1, 1)
            self.seen = {"train": [], "validation": []}

        def training_step(self, batch, _):
            self.seen["train"].append(batch["input"])
            return self.layer(batch["input"]).mean()

        def validation_step(self, batch, _):
            self.seen["validation"].append(batch["input"])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 1e-3)

    class Samples(lightning.LightningDataModule):
        def setup(self, stage):
            trainer = self.trainer
            self.loaders = load(rows, rank=trainer.global_rank, world_size=trainer.world_size)

        def train_dataloader(self):
            self.loaders.train.set_epoch(self.trainer.current_epoch)
            return self.loaders.train

        def val_dataloader(self):
            return self.loaders.validation

    def trainer(epochs):
        return lightning.Trainer(
            max_epochs=epochs, accelerator="cpu", logger=False, num_sanity_val_steps=0, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=tmp_path, enable_checkpointing=False,
        )  # fmt: skip

    network = Network()
    first = trainer(2)
    first.fit(network, Samples())
    first.save_checkpoint(tmp_path / "last.ckpt")
    trainer(3).fit(network, Samples(), ckpt_path=tmp_path / "last.ckpt")
    loaders = load(rows)
    # Lightning makes an iterator more than it uses when it begins, so epochs are counted from 1.
    loaders.train.set_epoch(1)
    assert equal(network.seen["train"], [raw for _ in range(3) for raw in inputs(loaders.train)])
    assert equal(network.seen["validation"], inputs(loaders.validation) * 3)


ACCELERATE = """
import sys, torch
from accelerate import Accelerator, DataLoaderConfiguration
from csc_data.loader import get_dataloader
from csc_data.loader.frameworks.stream import SampleStream

def load(**options):
    return get_dataloader(
        sys.argv[1], ["mito"], batch_size=4, input_array_info={"shape": (8, 8, 8), "scale": (8, 8, 8)},
        iterations_per_epoch=6, **options,
    )

def numbers(batches):
    return [float(value) for batch in batches for value in batch["input"].double().sum(dim=(1, 2, 3, 4))]

def told(kind, values):
    for value in values:
        print(kind, value, flush=True)

for dispatch in (True, False):
    accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(dispatch_batches=dispatch))
    stream = torch.utils.data.DataLoader(SampleStream(load().train), batch_size=4, num_workers=1)
    stream = accelerator.prepare(stream)
    for epoch in range(2):
        told(f"stream-{dispatch}-{epoch}", numbers(stream))
accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(even_batches=False))
tiles = accelerator.prepare(torch.utils.data.DataLoader(load().validation.dataset, batch_size=4))
told("tiles", numbers(tiles))
own = load(rank=accelerator.process_index, world_size=accelerator.num_processes)
told("own", numbers(accelerator.prepare(own.train)))
"""


@pytest.mark.thorough
def test_accelerate_neither_doubles_nor_loses_samples(rows, tmp_path):
    if importlib.util.find_spec("accelerate") is None:
        pytest.skip("accelerate is not installed")
    write_datasplit(tmp_path / "datasplit.csv", rows)
    script = tmp_path / "script.py"
    script.write_text(ACCELERATE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    addresses = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "datasplit.csv")],
            env={**os.environ, **addresses, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in "01"
    ]  # fmt: skip
    told = {}
    for run in runs:
        out, error = run.communicate(timeout=300)
        assert run.returncode == 0, error
        for line in out.splitlines():
            kind, value = line.split()
            told.setdefault(kind, []).append(float(value))

    def numbers(batches):
        return sorted(float(value) for batch in batches for value in batch["input"].double().sum(dim=(1, 2, 3, 4)))

    one, two = load(rows).train, [load(rows, rank=rank, world_size=2).train for rank in range(2)]
    for epoch in range(2):
        expected = numbers(one)
        for dispatch in (True, False):
            assert sorted(told[f"stream-{dispatch}-{epoch}"]) == expected
    assert sorted(told["tiles"]) == numbers(load(rows).validation)
    assert sorted(told["own"]) == numbers([*two[0], *two[1]])
