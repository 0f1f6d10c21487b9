"""Compiled loops over single voxels: gamma, contrast, brightness and noise in one pass over a patch.

Everything is arithmetic on 32 bits without branches, so that a processor works on 8 or 16 voxels at once; a block of
voxels stays in its nearest cache while one step after the other is done to it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from csc_data.loader.compilation import FAST, compiled

_QUARTER = 1024
_BLOCK = 4 * _QUARTER  # voxels that get their noise together; part of what a seed means

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)

# A float32 is (1 + fraction) * 2^(exponent - 127): 23 bits of fraction, 8 of exponent. Less those of sqrt(1/2), the
# upper bits are the exponent of a number from sqrt(1/2) to sqrt(2).
_FRACTION_BITS = np.int32(23)
_FRACTION = np.int32(2**23 - 1)
_BIAS = np.int32(127)
_LOW = np.float32(math.sqrt(0.5)).view(np.int32)
_LOWEST = np.float32(-126)

# log2(m) = 2 / ln 2 * artanh((m - 1) / (m + 1)), and 2^r = exp(r ln 2): as far as float32 can tell.
_A1, _A3, _A5, _A7 = (np.float32(2 / math.log(2) / k) for k in (1, 3, 5, 7))
_E1, _E2, _E3, _E4, _E5, _E6 = (np.float32(math.log(2) ** k / math.factorial(k)) for k in range(1, 7))
_S3, _S5, _S7 = (np.float32((-1) ** (k // 2) / math.factorial(k)) for k in (3, 5, 7))
_C2, _C4, _C6, _C8 = (np.float32((-1) ** (k // 2) / math.factorial(k)) for k in (2, 4, 6, 8))

# Philox 4x32 with 7 rounds: Salmon et al. (2011), Parallel random numbers: as easy as 1, 2, 3; table 2 and section 4.3.
_ROUNDS = 7
_FACTOR_0, _FACTOR_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_STEP_0, _STEP_1 = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
_UPPER = np.uint64(32)

_BIT_0, _BIT_1, _NO_BIT = np.uint32(1), np.uint32(2), np.uint32(0)
_TO_UNIT = np.float32(2.0**-31)
_TO_EIGHTH_TURN = np.float32(2 * math.pi / 2**34)
_MINUS_2_LN_2 = np.float32(-2 * math.log(2))


@compiled(fastmath=FAST)
def _log2(value: np.float32) -> np.float32:
    bits = np.int32(np.float32(value).view(np.int32) - _LOW)
    m = np.int32((bits & _FRACTION) + _LOW).view(np.float32)
    s = (m - _ONE) / (m + _ONE)
    q = s * s
    return np.float32(np.int32(bits >> _FRACTION_BITS)) + s * (_A1 + q * (_A3 + q * (_A5 + q * _A7)))


@compiled(fastmath=FAST)
def _exp2(value: np.float32) -> np.float32:
    value = max(value, _LOWEST)
    k = np.rint(value)
    r = value - k
    power = _ONE + r * (_E1 + r * (_E2 + r * (_E3 + r * (_E4 + r * (_E5 + r * _E6)))))
    scale = np.int32((np.int32(k) + _BIAS) << _FRACTION_BITS).view(np.float32)
    return np.float32(power * scale)


@compiled(fastmath=FAST)
def _bend(values: npt.NDArray[np.float32], exponent: np.float32) -> None:
    """Clip to 0 to 1, and raise to a power; to 2e-7."""
    for i in range(values.size):
        value = min(max(values[i], _ZERO), _ONE)
        power = _exp2(exponent * _log2(value))
        values[i] = power if value > _ZERO else _ZERO


@compiled(fastmath=FAST)
def _two_normals(first: np.uint32, second: np.uint32) -> tuple[np.float32, np.float32]:
    """Make two normally distributed numbers of 64 random bits (Box and Muller); the largest is 6.7."""
    uniform = (np.float32(np.int32(np.uint32(first >> _BIT_0))) + _HALF) * _TO_UNIT
    radius = np.sqrt(_MINUS_2_LN_2 * _log2(uniform))
    # An angle within an eighth of a turn from 0, then mirrored and turned by what its last bits say.
    angle = np.float32(np.int32(second)) * _TO_EIGHTH_TURN
    q = angle * angle
    sine = radius * angle * (_ONE + q * (_S3 + q * (_S5 + q * _S7)))
    cosine = radius * (_ONE + q * (_C2 + q * (_C4 + q * (_C6 + q * _C8))))
    mirrored = np.uint32(second & _BIT_0) != _NO_BIT
    sign = _ONE if np.uint32(second & _BIT_1) != _NO_BIT else -_ONE
    return sign * (sine if mirrored else cosine), sign * (cosine if mirrored else sine)


@compiled(fastmath=FAST)
def random_bits(
    place: int, block: int, key: tuple[np.uint32, np.uint32]
) -> tuple[np.uint32, np.uint32, np.uint32, np.uint32]:
    """Return 4 times 32 random bits: a function of a key and two numbers, each of 32 bits."""
    c0, c1, c2, c3 = np.uint32(place), np.uint32(block), _NO_BIT, _NO_BIT
    k0, k1 = key
    for _ in range(_ROUNDS):
        product_0, product_1 = _FACTOR_0 * np.uint64(c0), _FACTOR_1 * np.uint64(c2)
        c0 = np.uint32(np.uint32(product_1 >> _UPPER) ^ c1 ^ k0)
        c2 = np.uint32(np.uint32(product_0 >> _UPPER) ^ c3 ^ k1)
        c1, c3 = np.uint32(product_1), np.uint32(product_0)
        k0, k1 = np.uint32(k0 + _STEP_0), np.uint32(k1 + _STEP_1)
    return c0, c1, c2, c3


@compiled(fastmath=FAST)
def fill_normals(block: int, key: tuple[np.uint32, np.uint32], out: npt.NDArray[np.float32]) -> None:
    """Fill a block of 4,096 with normally distributed numbers, mean 0 and deviation 1.

    They are a function of the key and the number of the block, so that blocks need no order.
    """
    for place in range(_QUARTER):
        b0, b1, b2, b3 = random_bits(place, block, key)
        out[place], out[_QUARTER + place] = _two_normals(b0, b1)
        out[2 * _QUARTER + place], out[3 * _QUARTER + place] = _two_normals(b2, b3)


@compiled(fastmath=FAST)
def bend(raw: npt.NDArray[np.float32], exponent: float) -> float:
    """Raise raw to a power in place, and return the mean of what comes out; flat."""
    sums = np.zeros(_QUARTER, dtype=np.float64)  # many, so that adding needs no order of voxels
    for begin in range(0, raw.size, _QUARTER):
        values = raw[begin : begin + _QUARTER]
        if exponent != 1:
            _bend(values, np.float32(exponent))
        for i in range(values.size):
            sums[i] += values[i]
    total = 0.0
    for part in sums:
        total += part
    return total / raw.size


@compiled(fastmath=FAST)
def change_voxels(
    raw: npt.NDArray[np.float32],
    curve: tuple[float, float, float],
    variances: tuple[float, float],
    key: tuple[np.uint32, np.uint32],
) -> None:
    """Clip raw to 0 to 1, change it voxel by voxel in place, and clip it again; flat.

    Parameters
    ----------
    raw : ndarray
        float32.
    curve : tuple of float
        Exponent, factor and offset: ``v ** exponent * factor + offset``.
    variances : tuple of float
        Of noise that is equally strong everywhere, and of noise at white that falls to nothing at black.
    key : tuple of uint32
        What the noise is a function of.
    """
    exponent, factor, offset = np.float32(curve[0]), np.float32(curve[1]), np.float32(curve[2])
    even, at_white = np.float32(variances[0]), np.float32(variances[1])
    noisy = even > 0 or at_white > 0
    normals = np.empty(_BLOCK if noisy else 1, dtype=np.float32)
    for begin in range(0, raw.size, _BLOCK):
        values = raw[begin : begin + _BLOCK]
        if exponent != 1:
            _bend(values, exponent)
        for i in range(values.size):
            value = min(max(values[i], _ZERO), _ONE)
            values[i] = min(max(value * factor + offset, _ZERO), _ONE)
        if noisy:
            fill_normals(begin // _BLOCK, key, normals)
            for i in range(values.size):
                value = values[i] + np.sqrt(even + at_white * values[i]) * normals[i]
                values[i] = min(max(value, _ZERO), _ONE)
