"""From classes to grey values: what a FIB-SEM makes of the tissue.

Membranes are dark, whatever they enclose; interiors differ in texture far more than in brightness, and their brightness
varies from organelle to organelle and from slice to slice, so that no threshold tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from csc_data.challenge import label_classes
from csc_data.geometry import Triple
from csc_data.synthetic.tissue.canvas import Canvas, Field

MEMBRANE = 76.0


@dataclass(frozen=True, slots=True)
class Stain:
    """How one atomic class looks.

    Attributes
    ----------
    grey : float
        Mean grey value, 0 to 255.
    grain : float
        Amplitude of fine grain, a few nm wide.
    clumps : float
        Amplitude of texture a few tens of nm wide.
    specks : float
        Darkness of speckle like that of ribosomes.
    """

    grey: float
    grain: float = 4.0
    clumps: float = 2.0
    specks: float = 0.0


def _default_stains() -> dict[str, Stain]:
    stains = {name: Stain(MEMBRANE, 6.0, 3.0) for name in label_classes() if name.endswith("_mem") or name == "pm"}
    return stains | {
        "ecs": Stain(146.0, 2.0, 2.0),
        "cyto": Stain(154.0, 7.0, 5.0, 52.0),
        "mito_lum": Stain(154.0, 9.0, 3.0),
        "er_lum": Stain(150.0, 4.0, 2.0),
        "golgi_lum": Stain(150.0, 4.0, 2.0),
        "ves_lum": Stain(146.0, 5.0, 3.0),
        "endo_lum": Stain(152.0, 6.0, 12.0),
        "lyso_lum": Stain(118.0, 9.0, 24.0, 20.0),
        "ld_lum": Stain(126.0, 1.5, 1.0),
        "perox_lum": Stain(122.0, 9.0, 2.0),
        "ne_lum": Stain(148.0, 4.0, 2.0),
        "np_out": Stain(96.0, 8.0, 3.0),
        "np_in": Stain(120.0, 8.0, 3.0),
        "hchrom": Stain(118.0, 14.0, 10.0),
        "echrom": Stain(140.0, 14.0, 10.0),
        "nucpl": Stain(154.0, 11.0, 6.0),
        "nucleo": Stain(114.0, 16.0, 6.0, 26.0),
        "glyco": Stain(84.0, 12.0, 8.0),
        "mt_out": Stain(100.0),
        "mt_in": Stain(138.0),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Imaging:
    """Settings of the synthetic microscope.

    Attributes
    ----------
    stains : mapping of str to Stain
        Look of each atomic class.
    blur_nm : float
        Standard deviation of the point spread.
    object_spread : float
        Standard deviation of the brightness of organelles of one class, in grey values.
    shot_noise : float
        Standard deviation of the noise at grey value 128; it grows with the square root of the grey value.
    drift, flicker : float
        Slow and sudden changes of brightness from slice to slice, in grey values.
    vignetting : float
        Loss of brightness at the corners of a slice, as a share; uneven illumination varies by as much again.
    """

    stains: Mapping[str, Stain] = field(default_factory=_default_stains)
    blur_nm: float = 5.0
    object_spread: float = 10.0
    shot_noise: float = 7.0
    drift: float = 8.0
    flicker: float = 3.0
    vignetting: float = 0.08


def render(canvas: Canvas, imaging: Imaging, seed: int) -> npt.NDArray[np.uint8]:
    """Return the image of a volume, uint8 with membranes dark.

    It is computed slab by slab; the noise of every slice has a seed of its own, so that slabs fit together and memory
    stays bounded.
    """
    shape, voxel_size = canvas.atoms.shape, canvas.voxel_size
    image = np.empty(shape, np.uint8)
    tables = _Tables.build(canvas, imaging, seed)
    margin = int(np.ceil(4 * CLUMP_NM / voxel_size[0])) + 1
    thickness = max(16, min(64, 2**25 // (shape[1] * shape[2])))
    gain, offset = _slice_contrast(shape[0], imaging, seed)
    for start in range(0, shape[0], thickness):
        stop = min(start + thickness, shape[0])
        low, high = max(0, start - margin), min(shape[0], stop + margin)
        grey = tables.paint(canvas, slice(low, high), seed)
        grey = _blur(grey, imaging.blur_nm, voxel_size)[start - low : stop - low]
        for plane, z in zip(grey, range(start, stop), strict=True):
            lit = plane * (gain[z] * _illumination(z, voxel_size, plane.shape, imaging, seed)) + offset[z]
            noise = np.random.default_rng((seed, 2, z)).standard_normal(plane.shape, np.float32)
            lit += noise * np.sqrt(np.maximum(lit, 1.0) / 128) * np.float32(imaging.shot_noise)
            image[z] = np.clip(np.rint(lit), 0, 255)
    return image


GRAIN_NM, SPECK_NM, CLUMP_NM = 5.0, 7.5, 20.0


@dataclass(frozen=True, slots=True)
class _Tables:
    """Stains by atomic class id, and the brightness of each organelle."""

    grey: Field
    grain: Field
    clumps: Field
    specks: Field
    objects: Field

    @classmethod
    def build(cls, canvas: Canvas, imaging: Imaging, seed: int) -> _Tables:
        columns = np.zeros((4, 256), np.float32)
        columns[0] = 128.0
        for name, stain in imaging.stains.items():
            columns[:, label_classes()[name].id] = stain.grey, stain.grain, stain.clumps, stain.specks
        count = int(canvas.objects.max()) + 1
        brightness = np.random.default_rng((seed, 0)).standard_normal(count, np.float32)
        brightness = np.clip(brightness, -2, 2) * np.float32(imaging.object_spread)
        brightness[0] = 0
        return cls(columns[0], columns[1], columns[2], columns[3], brightness)

    def paint(self, canvas: Canvas, planes: slice, seed: int) -> Field:
        """Return brightness and texture of a slab, before blur and noise."""
        atoms = canvas.atoms[planes]
        white = np.stack(
            [
                np.random.default_rng((seed, 1, z)).standard_normal(atoms.shape[1:], np.float32)
                for z in range(planes.start, planes.stop)
            ]
        )
        grey = self.grey[atoms] + self.objects[canvas.objects[planes]]
        grey += self.grain[atoms] * _unit(_blur(white, GRAIN_NM, canvas.voxel_size))
        specks = np.clip(_unit(_blur(white[::-1], SPECK_NM, canvas.voxel_size)[::-1]) - 0.9, 0, 1.2)
        grey -= self.specks[atoms] * specks
        # Flipped in-plane, the same white noise serves again: its textures are unrelated at a voxel.
        grey += self.clumps[atoms] * _unit(_blur(white[:, ::-1, ::-1], CLUMP_NM, canvas.voxel_size))
        return grey


def _blur(values: Field, sigma_nm: float, voxel_size: Triple) -> Field:
    result: Field = ndimage.gaussian_filter(values, [sigma_nm / v for v in voxel_size], mode="nearest", truncate=3.0)
    return result


def _unit(values: Field) -> Field:
    return values / np.float32(max(float(values.std()), 1e-6))


def _slice_contrast(count: int, imaging: Imaging, seed: int) -> tuple[Field, Field]:
    """Return gain and offset of each slice: a slow wander plus sudden changes."""
    rng = np.random.default_rng((seed, 3))
    wander = np.zeros((2, count + 1))
    for z in range(1, count + 1):
        wander[:, z] = 0.96 * wander[:, z - 1] + np.sqrt(1 - 0.96**2) * rng.standard_normal(2)
    wander[:, 0] = rng.standard_normal(2)
    sudden = rng.standard_normal((2, count + 1))
    gain = 1 + (0.5 * imaging.drift * wander[0] + 0.4 * imaging.flicker * sudden[0]) / 128
    offset = imaging.drift * wander[1] + imaging.flicker * sudden[1]
    return gain[1:].astype(np.float32), offset[1:].astype(np.float32)


def _illumination(z: int, voxel_size: Triple, shape: tuple[int, ...], imaging: Imaging, seed: int) -> Field:
    """Return the share of brightness that each pixel of a slice keeps."""
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    rng = np.random.default_rng((seed, 4))
    uneven = np.zeros(shape, np.float32)
    for _ in range(4):
        ky, kx, kz, phase = rng.uniform(-1, 1, 4) * (3.5, 3.5, 2 * np.pi / 900.0, np.pi)
        line = kx * x + np.float32(kz * z * voxel_size[0] + phase)
        uneven += (np.cos(ky * y) * np.cos(line) - np.sin(ky * y) * np.sin(line)).astype(np.float32)
    loss = np.float32(imaging.vignetting) * (y * y + x * x) / 2
    return (1 - loss + np.float32(imaging.vignetting / 2) * uneven).astype(np.float32)
