"""What is masked is hidden and asked for, and nothing else is: borders, what is mirrored, and blocks of one grey."""

from __future__ import annotations

import pytest
import torch

from csc_data.loader import ArrayInfo
from csc_train.training.pretraining.masking import Masking, draw_blocks

CUBE = ArrayInfo(shape=(24, 20, 16), scale=(8, 8, 8))
PLANE = ArrayInfo(shape=(1, 24, 20), scale=(8, 8, 8))
FINER = ArrayInfo(shape=(16, 16, 16), scale=(4, 4, 4))  # of a network with valid convolutions that gives finer voxels


def masking(array=CUBE, target=None, size_nm=32.0, share=0.5):
    return Masking(size_nm=size_nm, share=share, array=array, target=target or array)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def raw_of(array, seed=1):
    shape = array.shape[1:] if array.flat else array.shape
    return torch.rand(shape, generator=generator(seed))


def apply(found, raw, known=None, seed=0, around=None):
    around = raw if around is None else around
    known = torch.ones(around.shape, dtype=torch.bool) if known is None else known
    return found.apply(raw, around, known, generator(seed))


@pytest.mark.parametrize("array", [CUBE, PLANE], ids=["cube", "plane"])
def test_a_network_sees_nothing_of_what_it_is_asked_for(array):
    raw = raw_of(array)
    seen, wanted = apply(masking(array), raw)
    asked = ~torch.isnan(wanted)
    assert 0.2 < asked.float().mean() < 0.8
    assert torch.equal(seen[~asked], raw[~asked])
    assert len(seen[asked].unique()) == 1  # and it is the mean of what is seen
    torch.testing.assert_close(seen[asked][0], raw[~asked].mean())
    torch.testing.assert_close(wanted[asked], (raw[asked] - raw[~asked].mean()) / raw[~asked].std())
    changed = raw.where(~asked, raw.flip(0))
    again, _ = apply(masking(array), changed)
    assert torch.equal(again, seen)


def test_blocks_are_of_that_size_and_share():
    blocks = [draw_blocks(CUBE, 32.0, 0.3, generator(seed)) for seed in range(200)]
    shares = torch.stack([block.mask.float().mean() for block in blocks])
    assert shares.mean() == pytest.approx(0.3, abs=0.02)
    counts = torch.cat([torch.bincount(block.numbers[0])[1:-1] for block in blocks])
    assert set(counts.tolist()) == {4}  # 32 nm of 8 nm
    begins = {int(torch.bincount(block.numbers[0])[0]) for block in blocks}
    assert begins == {1, 2, 3, 4}  # they do not always begin with the patch
    assert draw_blocks(CUBE, 1.0, 0.3, generator()).masked.shape == CUBE.shape  # at least a voxel


def test_what_is_mirrored_and_blocks_of_one_grey_are_not_asked_for():
    raw = raw_of(CUBE)
    known = torch.ones(CUBE.shape, dtype=torch.bool)
    known[:6] = False
    _, all_of_it = apply(masking(), raw)
    _, wanted = apply(masking(), raw, known)
    assert torch.isnan(wanted[:6]).all()
    assert torch.equal(wanted[6:].isnan(), all_of_it[6:].isnan())
    raw[:, :, 8:] = 0.25  # an empty border
    _, wanted = apply(masking(size_nm=8.0), raw)
    assert torch.isnan(wanted).all()  # blocks of a voxel are of one grey, too
    _, wanted = apply(masking(), raw)
    assert torch.isnan(wanted[:, :, 12:]).all()
    assert not torch.isnan(wanted[:, :, :5]).all()


def test_an_output_of_other_voxels_is_asked_for_what_lies_under_the_mask():
    raw = raw_of(CUBE)
    around = torch.rand(FINER.shape, generator=generator(9))
    seen, wanted = apply(masking(target=FINER), raw, around=around)
    masked = seen != raw
    # 16 voxels of 4 nm around the centre are 8 of 8 nm.
    inner = masked[8:16, 6:14, 4:12]
    expected = inner.repeat_interleave(2, 0).repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal(~torch.isnan(wanted), expected)
    assert expected.any()
    assert not expected.all()


def test_nothing_known_gives_nothing_to_learn_and_no_error():
    raw = torch.zeros(CUBE.shape)
    seen, wanted = apply(masking(share=0.999), raw)
    assert torch.isfinite(seen).all()
    assert torch.isnan(wanted).all()
