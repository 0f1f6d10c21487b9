"""Normally distributed numbers made on a device, those of `csc_data.loader.intensity.voxel_loops` for the same key."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_QUARTER = 1024  # a block is four times as many
_BLOCKS_AT_ONCE = 512
_MASK, _SIGN = 0xFFFFFFFF, 0x80000000

# Philox 4x32, see there. In int64 a product of two numbers of 32 bits wraps, but keeps all of its bits.
_ROUNDS = 7
_FACTOR_0, _FACTOR_1 = 0xD2511F53, 0xCD9E8D57
_STEP_0, _STEP_1 = 0x9E3779B9, 0xBB67AE85


def add_noise(raw: Tensor, variances: tuple[float, float], key: tuple[int, int]) -> None:
    """Add noise to raw in place, and clip it to 0 to 1.

    Parameters
    ----------
    raw : Tensor
        float32 from 0 to 1, contiguous.
    variances : tuple of float
        Of noise that is equally strong everywhere, and of noise at white that falls to nothing at black.
    key : pair of int
        What the noise is a function of.
    """
    even, at_white = variances
    flat, block = raw.view(-1), 4 * _QUARTER
    for first in range(0, -(-flat.numel() // block), _BLOCKS_AT_ONCE):
        values = flat[first * block : (first + _BLOCKS_AT_ONCE) * block]
        normals = _normals(first, -(-values.numel() // block), key, raw.device)[: values.numel()]
        values.add_(normals.mul_((values * at_white).add_(even).sqrt_())).clamp_(0, 1)


def _normals(first: int, count: int, key: tuple[int, int], device: torch.device) -> Tensor:
    """Return some blocks of 4,096, flat."""
    place = torch.arange(_QUARTER, dtype=torch.int64, device=device)
    block = torch.arange(first, first + count, dtype=torch.int64, device=device).reshape(-1, 1)
    c0, c1, c2, c3 = place, block, torch.zeros_like(place), torch.zeros_like(place)
    k0, k1 = key
    for _ in range(_ROUNDS):
        product_0, product_1 = c0 * _FACTOR_0, c2 * _FACTOR_1
        c0, c1 = (product_1 >> 32) & _MASK ^ c1 ^ k0, product_1 & _MASK
        c2, c3 = (product_0 >> 32) & _MASK ^ c3 ^ k1, product_0 & _MASK
        k0, k1 = (k0 + _STEP_0) & _MASK, (k1 + _STEP_1) & _MASK
    return torch.stack([*_two_normals(c0, c1), *_two_normals(c2, c3)], dim=1).reshape(-1)


def _two_normals(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Make two normally distributed numbers of 64 random bits (Box and Muller)."""
    uniform = ((first >> 1).to(torch.float32) + 0.5) * 2.0**-31
    radius = torch.log_(uniform).mul_(-2).sqrt_()
    angle = ((second ^ _SIGN) - _SIGN).to(torch.float32) * (2 * math.pi / 2**34)
    sine, cosine = radius * torch.sin(angle), radius * torch.cos(angle)
    mirrored, sign = (second & 1).bool(), (second & 2).sub(1).to(torch.float32)
    return torch.where(mirrored, sine, cosine) * sign, torch.where(mirrored, cosine, sine) * sign
