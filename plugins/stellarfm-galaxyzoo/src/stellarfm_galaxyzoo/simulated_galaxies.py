"""Galaxies from parametric profiles: bulge, disc, bar, spiral arms, ring, and a companion that merges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from stellarfm_galaxyzoo.images import asinh_stretch

__all__ = ["Galaxy", "draw_galaxy", "render"]

#: Colour of each component: factor of flux from the bluest to the reddest band.
COLOURS = {"bulge": 3.0, "bar": 2.2, "disc": 1.3, "arms": 0.7, "ring": 0.6}
THICKNESS = 0.13  # of a disc that is seen edge-on, in units of its radius


@dataclass(frozen=True)
class Galaxy:
    """What a galaxy really looks like; the numbers that volunteers never see.

    Attributes
    ----------
    bulge : float
        Share of the bulge in the light; 1 for an elliptical galaxy.
    axis_ratio : float
        Of the bulge.
    cos_inclination : float
        1 is a disc face-on, 0 edge-on.
    angle : float
        Position angle in radians.
    radius : float
        Scale radius as a share of the half width of the image.
    n_arms : int
        0 without a spiral.
    arm_contrast, pitch, phase : float
        Of the arms: strength in [0, 1], pitch angle in degrees, position in radians.
    bar, ring : float
        Strength in [0, 1].
    ring_radius : float
        In scale radii.
    companion : float
        How far a merger has gone, in [0, 1]; 0 is undisturbed.
    companion_angle : float
        Where the companion is, in radians.
    noise : float
        Standard deviation of the sky, in units of the flux that becomes white.
    """

    bulge: float
    axis_ratio: float
    cos_inclination: float
    angle: float
    radius: float
    n_arms: int
    arm_contrast: float
    pitch: float
    phase: float
    bar: float
    ring: float
    ring_radius: float
    companion: float
    companion_angle: float
    noise: float

    @property
    def facing(self) -> float:
        """How well structure in the disc can be seen, in [0, 1]."""
        return float(np.sqrt(1.0 - self.bulge) / (1.0 + np.exp(-(self.cos_inclination - 0.3) / 0.07)))


def draw_galaxy(rng: np.random.Generator) -> Galaxy:
    """A random galaxy: two in five are elliptical, the others discs with or without bar, arms and ring."""
    elliptical = rng.uniform() < 0.4
    n_arms = int(rng.choice([0, 1, 2, 3, 4, 5], p=[0.45, 0.05, 0.3, 0.1, 0.05, 0.05]))
    return Galaxy(
        bulge=1.0 if elliptical else float(rng.beta(1.2, 3.0)),
        axis_ratio=float(rng.uniform(0.3, 1.0)) if elliptical else float(rng.uniform(0.7, 1.0)),
        cos_inclination=float(rng.uniform(0.0, 1.0)),
        angle=float(rng.uniform(0.0, np.pi)),
        radius=float(rng.uniform(0.13, 0.24)),
        n_arms=0 if elliptical else n_arms,
        arm_contrast=0.0 if elliptical or not n_arms else float(rng.uniform(0.3, 1.0)),
        pitch=float(rng.uniform(10.0, 35.0)),
        phase=float(rng.uniform(0.0, 2 * np.pi)),
        bar=0.0 if elliptical or rng.uniform() < 0.55 else float(rng.uniform(0.2, 1.0)),
        ring=0.0 if elliptical or rng.uniform() < 0.65 else float(rng.uniform(0.3, 1.0)),
        ring_radius=float(rng.uniform(1.5, 2.3)),
        companion=0.0 if rng.uniform() < 0.85 else float(rng.uniform(0.2, 1.0)),
        companion_angle=float(rng.uniform(0.0, 2 * np.pi)),
        noise=float(rng.uniform(0.01, 0.04)),
    )


def render(galaxy: Galaxy, *, size: int, channels: int, rng: np.random.Generator) -> np.ndarray:
    """An image of a galaxy with noise, stretched: float32 in [0, 1], shape (channels, size, size), reddest first."""
    layers = _layers(galaxy, size)
    bands = np.zeros((channels, size, size))
    for band, position in enumerate(np.linspace(1.0, 0.0, channels) if channels > 1 else [0.5]):
        for name, light in layers.items():
            bands[band] += light * COLOURS[name] ** (position - 0.5)
    seeing = size / 64 * 0.8
    bands = gaussian_filter(bands, (0, seeing, seeing))
    bands += rng.normal(0.0, galaxy.noise, bands.shape)
    return asinh_stretch(bands, scales=[1.0] * channels)


def _layers(galaxy: Galaxy, size: int) -> dict[str, np.ndarray]:
    """Light of each component on the sky."""
    x, y = _grid(size)
    layers = _one(galaxy, x, y)
    if galaxy.companion:
        away = 0.75 - 0.35 * galaxy.companion
        dx, dy = away * np.cos(galaxy.companion_angle), away * np.sin(galaxy.companion_angle)
        distance = np.hypot(x - dx, y - dy) / (0.35 * galaxy.radius)
        layers["bulge"] = layers["bulge"] + (0.2 + 0.5 * galaxy.companion) * np.exp(-distance)
        tail = np.abs(np.hypot(x, y) - away) / 0.05
        behind = np.angle(np.exp(1j * (np.arctan2(y, x) - galaxy.companion_angle)))
        streak = np.exp(-0.5 * tail**2) * np.exp(-np.abs(behind) / 0.8) * (behind > 0)
        layers["arms"] = layers["arms"] + 0.25 * galaxy.companion * streak
    return layers


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of the pixel centres, from -1 to 1."""
    line = (np.arange(size) + 0.5) / size * 2.0 - 1.0
    x, y = np.meshgrid(line, line)
    return x, y


def _one(galaxy: Galaxy, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Light of the galaxy itself."""
    cos, sin = np.cos(galaxy.angle), np.sin(galaxy.angle)
    along, across = x * cos + y * sin, y * cos - x * sin
    scale = galaxy.radius
    bulge_scale = scale * (0.5 if galaxy.bulge == 1.0 else 0.3)
    bulge = galaxy.bulge * np.exp(-1.2 * ((np.hypot(along, across / galaxy.axis_ratio) / bulge_scale) ** 0.6 - 0.5))
    flat = np.hypot(galaxy.cos_inclination, THICKNESS)
    u, v = along / scale, across / (scale * flat)
    r, theta = np.hypot(u, v), np.arctan2(v, u)
    disc_light = (1.0 - galaxy.bulge) / np.sqrt(flat)
    disc = 0.45 * disc_light * np.exp(-r)
    arms = disc * 5.0 * galaxy.arm_contrast * _spiral(galaxy, r, theta) if galaxy.n_arms else np.zeros_like(r)
    return {
        "bulge": bulge,
        "disc": disc * (1.0 - 0.5 * galaxy.arm_contrast),
        "arms": arms,
        "bar": 0.8 * disc_light * galaxy.bar * np.exp(-0.5 * ((u / 0.85) ** 4 + (v / 0.24) ** 2)),
        "ring": 0.55 * disc_light * galaxy.ring * np.exp(-0.5 * ((r - galaxy.ring_radius) / 0.17) ** 2),
    }


def _spiral(galaxy: Galaxy, r: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Logarithmic spiral arms, between 0 and 1, from half a scale radius outwards."""
    winding = np.log(np.maximum(r, 1e-3)) / np.tan(np.radians(galaxy.pitch))
    wave = np.cos(galaxy.n_arms * (theta - winding) + galaxy.phase)
    return np.exp(2.5 * (wave - 1.0)) / (1.0 + np.exp(-(r - 0.6) / 0.12))
