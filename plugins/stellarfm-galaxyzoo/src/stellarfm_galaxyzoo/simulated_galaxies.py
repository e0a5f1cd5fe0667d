"""Simulated galaxies with parametric profiles: bulge, disc, bar, spiral arms, ring and a merging companion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from stellarfm_galaxyzoo.images import asinh_stretch

__all__ = ["Galaxy", "draw_galaxy", "render"]

#: Color of each component: ratio of the flux in the reddest band to that in the bluest.
COLORS = {"bulge": 3.0, "bar": 2.2, "disc": 1.3, "arms": 0.7, "ring": 0.6}
#: Thickness of a disc seen edge-on, in units of its radius.
THICKNESS = 0.13


@dataclass(frozen=True)
class Galaxy:
    """True parameters of a simulated galaxy.

    Attributes
    ----------
    bulge : float
        Fraction of the light in the bulge; 1 for an elliptical galaxy.
    axis_ratio : float
        Axis ratio of the bulge.
    cos_inclination : float
        Cosine of the inclination: 1 for a disc seen face-on, 0 edge-on.
    angle : float
        Position angle in radians.
    radius : float
        Scale radius in units of half the width of the image.
    n_arms : int
        Number of spiral arms; 0 for none.
    arm_contrast : float
        Strength of the arms in [0, 1].
    pitch : float
        Pitch angle of the arms in degrees.
    phase : float
        Position angle of the arms in radians.
    bar : float
        Strength of the bar in [0, 1].
    ring : float
        Strength of the ring in [0, 1].
    ring_radius : float
        Radius of the ring in scale radii.
    companion : float
        Progress of a merger in [0, 1]; 0 for an undisturbed galaxy.
    companion_angle : float
        Position angle of the companion in radians.
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
        """Visibility of structure in the disc, in [0, 1]."""
        return float(np.sqrt(1.0 - self.bulge) / (1.0 + np.exp(-(self.cos_inclination - 0.3) / 0.07)))


def draw_galaxy(rng: np.random.Generator) -> Galaxy:
    """Return a random galaxy: 40 % are elliptical, the others discs with or without bar, arms and ring."""
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
    """Return a stretched image with noise: float32 in [0, 1], shape (channels, size, size), reddest band first."""
    layers = _layers(galaxy, size)
    bands = np.zeros((channels, size, size))
    for band, position in enumerate(np.linspace(1.0, 0.0, channels) if channels > 1 else [0.5]):
        for name, light in layers.items():
            bands[band] += light * COLORS[name] ** (position - 0.5)
    seeing = size / 64 * 0.8
    bands = gaussian_filter(bands, (0, seeing, seeing))
    bands += rng.normal(0.0, galaxy.noise, bands.shape)
    return asinh_stretch(bands, scales=[1.0] * channels)


def _layers(galaxy: Galaxy, size: int) -> dict[str, np.ndarray]:
    """Return the light of each component, with that of a companion."""
    line = (np.arange(size) + 0.5) / size * 2.0 - 1.0
    x, y = np.meshgrid(line, line)
    layers = _main_galaxy(galaxy, x, y)
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


def _main_galaxy(galaxy: Galaxy, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Return the light of each component without a companion, at pixel centers `x`, `y` between -1 and 1."""
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
    """Return the strength of logarithmic spiral arms in [0, 1], which begin at about 0.6 scale radii."""
    winding = np.log(np.maximum(r, 1e-3)) / np.tan(np.radians(galaxy.pitch))
    wave = np.cos(galaxy.n_arms * (theta - winding) + galaxy.phase)
    return np.exp(2.5 * (wave - 1.0)) / (1.0 + np.exp(-(r - 0.6) / 0.12))
