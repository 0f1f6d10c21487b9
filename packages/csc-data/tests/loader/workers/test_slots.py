"""Slots are lent again when nothing looks at their batch any more, whoever finds that out and when."""

from __future__ import annotations

import gc
import pickle
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from csc_data.loader.workers.slots import BatchSlots  # noqa: E402

SHAPE = (2, 1, 4, 4, 4)


def fill(slots, slot, value):
    """Write a batch as a worker does, and say so as it does."""
    arrays = {"input": np.full(SHAPE, value, np.float32), "place": np.arange(3), "codes": np.full((2, 5), 7, np.uint16)}
    filled = slots.place(slot, arrays)
    for name, view in slots.views(filled).items():
        view[...] = arrays[name]
    return pickle.loads(pickle.dumps(filled))


def test_a_batch_arrives_as_it_was_written():
    slots = BatchSlots(3, [SHAPE])
    batches = [slots.open(fill(slots, slots.lend(), value)) for value in (1.0, 2.0, 3.0)]
    for value, batch in zip((1.0, 2.0, 3.0), batches, strict=True):
        assert list(batch) == ["input", "place", "codes"]
        assert torch.equal(batch["input"], torch.full(SHAPE, value))
        assert batch["place"].tolist() == [0, 1, 2]
        assert batch["codes"].dtype == torch.uint16
    assert slots.lend() is None  # all are looked at


def test_a_slot_is_lent_again_when_nothing_looks_at_it():
    slots = BatchSlots(1, [SHAPE])
    for look in (
        lambda batch: batch["place"],
        lambda batch: batch["input"][0, 0],
        lambda batch: batch["input"].view(-1)[3:].numpy()[1:],
        lambda batch: batch["input"].untyped_storage(),
        lambda batch: torch.utils.data.default_convert(batch),
    ):
        batch = slots.open(fill(slots, slots.lend(), 1.0))
        held = look(batch)
        del batch
        assert slots.lend() is None
        del held
        assert slots.lend() == 0
        slots.take_back()


def test_what_was_asked_for_and_never_came_is_taken_back():
    slots = BatchSlots(2, [SHAPE])
    batch = slots.open(fill(slots, slots.lend(), 1.0))
    slots.lend()
    assert slots.lend() is None
    slots.take_back()
    assert slots.lend() is not None
    assert slots.lend() is None
    assert torch.equal(batch["input"], torch.ones(SHAPE))


def test_what_a_cycle_holds_is_lent_when_it_is_collected():
    slots = BatchSlots(1, [SHAPE])
    cycle = [slots.open(fill(slots, slots.lend(), 1.0))]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert slots.lend() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="memory of a file is given back in Linux's way")
def test_memory_at_which_nobody_looks_is_given_back():
    shape = (64, 64, 64)
    slots = BatchSlots(2, [shape])

    def shared_bytes():
        with open("/proc/self/statm") as file:  # noqa: PTH123
            return int(file.read().split()[2]) * 4096

    kept, dropped = (slots.place(slots.lend(), {"input": np.broadcast_to(np.float32(0), shape)}) for _ in range(2))
    before = shared_bytes()
    slots.views(kept)["input"][...] = 3
    slots.views(dropped)["input"][...] = 4
    assert shared_bytes() >= before + 2 * 4 * 64**3
    batch = slots.open(kept)
    slots.open(dropped)
    slots.free_memory()
    assert shared_bytes() <= before + 4 * 64**3 + 100_000
    assert torch.equal(batch["input"], torch.full(shape, 3.0))
    views = slots.views(slots.place(slots.lend(), {"input": batch["input"].numpy()}))
    assert not views["input"].any()
    views["input"][...] = 5


def test_what_does_not_fit_has_no_place():
    slots = BatchSlots(1, [SHAPE])
    assert slots.place(0, {"input": np.zeros(2**20)}) is None
    assert slots.place(0, {"input": np.zeros(SHAPE, np.float32), "values": np.zeros(2**17)}) is not None


def test_pinned_memory_is_of_the_batch_and_the_slot_is_free(monkeypatch):
    """What torch's thread calls where there is a device; here there is none, so the copy is an ordinary one."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    slots = BatchSlots(1, [SHAPE])
    filled = fill(slots, slots.lend(), 2.0)
    batch = torch.utils.data._utils.pin_memory.pin_memory(filled)
    assert torch.equal(batch["input"], torch.full(SHAPE, 2.0))
    assert slots.lend() == 0
