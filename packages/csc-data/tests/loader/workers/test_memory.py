"""Memory of batches is used again when nothing looks at it any more, whoever finds that out and when."""

from __future__ import annotations

import gc

import pytest

torch = pytest.importorskip("torch")

from csc_data.loader.workers.memory import SpareMemory, allocate_shared  # noqa: E402

SHAPE = (2, 1, 4, 4, 4)


def address(tensor):
    return tensor.data_ptr()


def test_memory_comes_back_when_the_tensor_and_all_that_look_at_it_are_gone():
    memory = SpareMemory()
    given = memory.allocate(SHAPE)
    first = address(given)
    for look in (
        lambda t: t[0, 0],
        lambda t: t[:, :, 0].numpy(),
        lambda t: t.view(-1)[3:].numpy()[1:],
        lambda t: t.permute(1, 0, 2, 3, 4),
        lambda t: t.untyped_storage(),
    ):
        held = look(given)
        del given
        others = [memory.allocate(SHAPE) for _ in range(3)]
        assert first not in map(address, others)
        del others, held
        both = [memory.allocate(SHAPE), memory.allocate(SHAPE)]
        assert len(set(map(address, both))) == 2
        del both
        given = memory.allocate(SHAPE)
        first = address(given)


def test_what_a_cycle_holds_comes_back_with_it():
    memory = SpareMemory()
    gc.disable()
    try:
        cycle = [memory.allocate(SHAPE)]
        first = address(cycle[0])
        cycle.append(cycle)
        del cycle
        other = memory.allocate(SHAPE)
        assert address(other) != first
        gc.collect()
        assert address(memory.allocate(SHAPE)) == first
    finally:
        gc.enable()


def test_no_more_is_kept_than_two_of_a_size():
    memory = SpareMemory()
    held = [memory.allocate(SHAPE) for _ in range(5)]
    addresses = [address(array) for array in held]
    assert len(set(addresses)) == 5
    del held
    assert memory.spare_bytes == 2 * 4 * 128
    assert address(memory.allocate((4, 2, 4, 4, 1, 1))) in addresses  # sizes count, not shapes


def test_shared_memory_is_filled_in_place():
    tensor = allocate_shared(SHAPE)
    tensor.numpy()[...] = 3
    assert tensor.shape == SHAPE
    assert tensor.is_shared()  # else torch copies it on its way
    assert tensor.sum() == 3 * 128
