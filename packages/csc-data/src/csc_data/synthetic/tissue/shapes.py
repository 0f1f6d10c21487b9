"""Depth fields: how far inside a shape each voxel of a window lies, in nm, negative outside.

A membrane is where the depth is between 0 and its thickness, a lumen where it is more, a gap where it is slightly less
than 0. All fields are float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from csc_data.synthetic.tissue.canvas import Canvas, Field, Point, Window

OUTSIDE = np.float32(-1e9)


@dataclass(frozen=True, slots=True)
class SmoothNoise:
    """A smooth random function of position, of mean 0 and variance 1: a sum of plane waves in random directions.

    Attributes
    ----------
    numbers : numpy.ndarray of float32
        Wave vectors in radians per nm, shape (waves, 3).
    phases : numpy.ndarray of float32
        In radians, shape (waves,).
    """

    numbers: npt.NDArray[np.float32]
    phases: npt.NDArray[np.float32]

    @classmethod
    def random(cls, wavelength_nm: float, rng: np.random.Generator, *, waves: int = 6) -> SmoothNoise:
        """Return one whose waves are about that long."""
        directions = rng.standard_normal((waves, 3))
        directions /= np.sqrt((directions**2).sum(axis=1, keepdims=True))
        numbers = directions * (2 * np.pi / (wavelength_nm * rng.uniform(0.7, 1.4, (waves, 1))))
        phases = rng.uniform(0, 2 * np.pi, waves)
        return cls(numbers.astype(np.float32), phases.astype(np.float32))

    def on(self, window: Window) -> Field:
        """Return its values at all voxels of a window."""
        total = np.zeros(window.shape, np.float32)
        for (kz, ky, kx), phase in zip(self.numbers, self.phases, strict=True):
            # cos(a + b) = cos a cos b - sin a sin b spares a cosine per voxel.
            plane, line = window.z * kz + phase + window.y * ky, window.x * kx
            total += np.cos(plane) * np.cos(line)
            total -= np.sin(plane) * np.sin(line)
        total *= np.float32(np.sqrt(2 / len(self.phases)))
        return total

    def at(self, z: Field, y: Field, x: Field) -> Field:
        """Return its values at scattered positions in nm, arrays of one shape."""
        total = np.zeros(z.shape, np.float32)
        for (kz, ky, kx), phase in zip(self.numbers, self.phases, strict=True):
            total += np.cos(z * kz + y * ky + x * kx + phase)
        total *= np.float32(np.sqrt(2 / len(self.phases)))
        return total


def smooth_noise(window: Window, wavelength_nm: float, rng: np.random.Generator, *, waves: int = 6) -> Field:
    """Return a new random `SmoothNoise` at all voxels of a window."""
    return SmoothNoise.random(wavelength_nm, rng, waves=waves).on(window)


def ball_depth(window: Window, centre: Point, radii: Point) -> Field:
    """Return the depth in an ellipsoid; exact for a sphere, a close first-order estimate otherwise."""
    z, y, x = (
        (axis - np.float32(c)) / np.float32(r)
        for axis, c, r in zip((window.z, window.y, window.x), centre, radii, strict=True)
    )
    norm = np.sqrt(z * z + y * y + x * x)
    result: Field = (np.float32(1) - norm) * np.float32(np.min(radii))
    return result


def tube_depth(canvas: Canvas, window: Window, path: Point, radii: npt.NDArray[np.float64]) -> tuple[Field, Field]:
    """Return the depth in a tube along a path, and the arc length of the nearest point of the path.

    Parameters
    ----------
    canvas : Canvas
        The volume.
    window : Window
        Where to compute it.
    path : numpy.ndarray
        Points in nm, shape (n, 3), n >= 2.
    radii : numpy.ndarray
        Radius at each point, shape (n,).

    Returns
    -------
    depth, arc : numpy.ndarray of float32
        In nm; the depth is `OUTSIDE` far from the tube.
    """
    depth = np.full(window.shape, OUTSIDE, np.float32)
    arc = np.zeros(window.shape, np.float32)
    lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    offset = [s.start for s in window.slices]
    for i, length in enumerate(lengths):
        a, b = path[i], path[i + 1]
        margin = max(radii[i], radii[i + 1]) * 1.5 + 20.0
        part = canvas.window(np.minimum(a, b) - margin, np.maximum(a, b) + margin)
        if part is None:
            continue
        inner = tuple(
            slice(max(s.start - o, 0), max(min(s.stop - o, n), 0))
            for s, o, n in zip(part.slices, offset, window.shape, strict=True)
        )
        if any(s.stop <= s.start for s in inner):
            continue
        z, y, x = window.z[inner[0]], window.y[:, inner[1]], window.x[:, :, inner[2]]
        (dz, dy, dx), square = (b - a).astype(np.float32), np.float32(length**2)
        pz, py, px = z - np.float32(a[0]), y - np.float32(a[1]), x - np.float32(a[2])
        share = np.clip((pz * dz + py * dy + px * dx) / square, 0, 1)
        distance = np.sqrt((pz - share * dz) ** 2 + (py - share * dy) ** 2 + (px - share * dx) ** 2)
        near = np.float32(radii[i]) + share * np.float32(radii[i + 1] - radii[i]) - distance
        better = near > depth[inner]
        depth[inner] = np.where(better, near, depth[inner])
        arc[inner] = np.where(better, np.float32(starts[i]) + share * np.float32(length), arc[inner])
    return depth, arc


def random_direction(rng: np.random.Generator) -> Point:
    """Return a unit vector, all directions equally likely."""
    vector = rng.standard_normal(3)
    unit: Point = vector / np.linalg.norm(vector)
    return unit


def random_path(rng: np.random.Generator, start: Point, length_nm: float, *, step_nm: float, bend: float) -> Point:
    """Return a smoothly bending path, shape (n, 3), in nm.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    start : numpy.ndarray
        First point in nm.
    length_nm, step_nm : float
        Length of the path and of its pieces.
    bend : float
        How much the direction may turn from piece to piece; 0 is straight.
    """
    direction, turn = random_direction(rng), random_direction(rng)
    points = [np.asarray(start, np.float64)]
    for _ in range(max(1, round(length_nm / step_nm))):
        turn = 0.8 * turn + 0.6 * random_direction(rng)
        direction = direction + bend * turn
        direction /= np.linalg.norm(direction)
        points.append(points[-1] + step_nm * direction)
    return np.array(points)


def surroundings(points: Point, radius_nm: float) -> Point:
    """Return the points and, for each, six more at a distance along the axes: a cheap probe of a thick path."""
    steps = radius_nm * np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)])
    result: Point = (points[:, None, :] + steps[None]).reshape(-1, 3)
    return result


def random_axes(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return three orthonormal vectors as rows."""
    axes, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return np.asarray(axes, np.float64)
