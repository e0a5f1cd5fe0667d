"""Detection of altered maps by `Familiarity`: flagged fractions of windows of a cloud outside the reference set.

The reference set is a number of map sets, the windows are those of another cloud, as they are and altered: a beam,
coarser pixels, constant maps, noise, and wrong units. Thresholds come from the reference set alone. Held-out clouds of
the reference set itself give the false alarms of clouds that were never seen.

    python benchmarks/familiarity.py --reference cloud-a.h5 cloud-b.h5 cloud-e.h5 --windows cloud-c.h5
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from results_file import write_results
from scipy.ndimage import zoom

from stellarfm.inference.masses.conformal import star_weights
from stellarfm.inference.masses.familiarity import GROUPS, Familiarity, FamiliarityScores
from stellarfm.maps import MapSet, Observation

FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))


def with_moments(windows: MapSet, change: Callable[[np.ndarray], np.ndarray]) -> MapSet:
    """Windows whose mass and column-weighted moments are changed by a linear operation on arrays (N, ny, nx)."""
    column, velocity = (values.value.astype(float) for values in (windows.column_density, windows.velocity))
    square = windows.velocity_dispersion.value.astype(float) ** 2 + velocity**2
    mass = change(column)
    mean = change(column * velocity) / mass
    variance = np.maximum(change(column * square) / mass - mean**2, 0)
    return altered(windows, mass, mean, np.sqrt(variance))


def altered(windows: MapSet, column: np.ndarray, velocity: np.ndarray, dispersion: np.ndarray) -> MapSet:
    return replace(
        windows,
        column_density=column / u.cm**2,
        velocity=velocity * u.km / u.s,
        velocity_dispersion=dispersion * u.km / u.s,
        cell_size=None,
    )


def scaled(windows: MapSet, column: float = 1, velocity: float = 1, dispersion: float = 1) -> MapSet:
    return altered(
        windows,
        windows.column_density.value * column,
        windows.velocity.value * velocity,
        windows.velocity_dispersion.value * dispersion,
    )


def beam(windows: MapSet, pixels: float) -> MapSet:
    """Convolve with a Gaussian beam of this full width at half maximum."""
    return Observation(beam=pixels * windows.pixel_scale).apply(windows)


def coarse(windows: MapSet, factor: int, *, linear: bool) -> MapSet:
    """Average over blocks of pixels, and interpolate back to the original pixels."""

    def average(values: np.ndarray) -> np.ndarray:
        count, rows, columns = values.shape
        return values.reshape(count, rows // factor, factor, columns // factor, factor).mean(axis=(2, 4))

    small = with_moments(windows, average)
    maps = (small.column_density.value, small.velocity.value, small.velocity_dispersion.value)
    order = 1 if linear else 0
    return altered(
        windows,
        *(zoom(values, (1, factor, factor), order=order, mode="nearest", grid_mode=True) for values in maps),
    )


def constant(windows: MapSet) -> MapSet:
    """Replace each map of a window by its median."""
    maps = (windows.column_density.value, windows.velocity.value, windows.velocity_dispersion.value)
    return altered(windows, *(np.median(x, axis=(1, 2), keepdims=True) * np.ones_like(x) for x in maps))


def noise(windows: MapSet, relative: float, *, kinematics: bool = True) -> MapSet:
    """Add noise per pixel, relative to N, to the scatter of v in the window and to s."""
    rng = np.random.default_rng(0)
    maps = (windows.column_density.value, windows.velocity.value, windows.velocity_dispersion.value)
    column, velocity, dispersion = (values.astype(float) for values in maps)
    shape = column.shape
    column = np.maximum(column * (1 + relative * rng.normal(size=shape)), 0.01 * column)
    if kinematics:
        velocity = velocity + relative * velocity.std(axis=(1, 2), keepdims=True) * rng.normal(size=shape)
        dispersion = np.maximum(dispersion * (1 + relative * rng.normal(size=shape)), 0.01 * dispersion)
    return altered(windows, column, velocity, dispersion)


#: Name in the table -> alteration of the windows.
ALTERATIONS: dict[str, Callable[[MapSet], MapSet]] = {
    "beam of 2 pixels (FWHM)": lambda windows: beam(windows, 2),
    "beam of 4 pixels": lambda windows: beam(windows, 4),
    "beam of 8 pixels": lambda windows: beam(windows, 8),
    "pixels 4 times as large, interpolated": lambda windows: coarse(windows, 4, linear=True),
    "pixels 4 times as large, repeated": lambda windows: coarse(windows, 4, linear=False),
    "constant maps": constant,
    "noise of 30 % in N": lambda windows: noise(windows, 0.3, kinematics=False),
    "noise of 30 % in all maps": lambda windows: noise(windows, 0.3),
    "noise of 10 % in all maps": lambda windows: noise(windows, 0.1),
    "FWHM for the velocity dispersion": lambda windows: scaled(windows, dispersion=FWHM_PER_SIGMA),
    "N x 10": lambda windows: scaled(windows, column=10),
    "N / 2 (molecules for nuclei)": lambda windows: scaled(windows, column=0.5),
    "m/s for km/s": lambda windows: scaled(windows, velocity=1000, dispersion=1000),
}


def flagged(scores: FamiliarityScores, stars: np.ndarray) -> dict[str, float]:
    """Flagged fractions: of windows, of stars (each of weight one), and of windows in each group."""
    weights = star_weights(stars)
    flags = scores.ood > 1
    groups = {group: float(np.mean(getattr(scores, group) > 1)) for group in GROUPS}
    return {"windows": float(flags.mean()), "stars": float(np.average(flags, weights=weights))} | groups


def measure(reference: list[MapSet], windows: MapSet, every: int) -> Iterator[dict[str, Any]]:
    """One record per kind of map."""
    started = time.perf_counter()
    familiarity = Familiarity().fit(MapSet.concatenate(reference))
    print(f"fitted in {time.perf_counter() - started:.0f} s", flush=True)
    yield {"maps": "unaltered", **flagged(familiarity.score(windows), windows.groups)}
    few = windows[::every]
    for name, alter in ALTERATIONS.items():
        yield {"maps": name, **flagged(familiarity.score(alter(few)), few.groups)}


def held_out(reference: list[MapSet]) -> Iterator[dict[str, Any]]:
    """False alarms of each cloud of the reference set, the others being the reference set."""
    for number, windows in enumerate(reference):
        others = [other for k, other in enumerate(reference) if k != number]
        scores = Familiarity().fit(MapSet.concatenate(others)).score(windows)
        yield {"maps": f"unaltered, {windows.simulation} held out", **flagged(scores, windows.groups)}


def in_words(found: dict[str, Any]) -> str:
    """The results as Markdown."""
    setting = ", ".join(f"{name} {value}" for name, value in found["setting"].items())
    names = ("windows", "stars", *GROUPS)
    lines = ["# Detection of altered maps\n", f"{setting}.\n"]
    lines += ["Flagged fractions in any group: of windows, and of stars (each star has weight one). Last columns: of"]
    lines += ["windows in each group. Thresholds are set on the reference set, at the nominal rate.\n"]
    lines += [f"| maps | {' | '.join(names)} |", "| :-- |" + " --: |" * len(names)]
    for record in found["records"]:
        lines.append(f"| {record['maps']} | " + " | ".join(f"{record[name]:.3f}" for name in names) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", nargs="+", required=True, type=Path, help="map sets of the reference set")
    parser.add_argument("--windows", required=True, type=Path, help="map set of the cloud that is altered")
    parser.add_argument("--every", type=int, default=3, help="alter every so many windows (default: 3)")
    parser.add_argument("--held-out", action="store_true", help="also hold out each cloud of the reference set")
    results = Path(__file__).parent / "results" / "familiarity"
    parser.add_argument("--output", type=Path, default=results, help="path of the results, without ending")
    options = parser.parse_args()
    reference = [MapSet.read(path) for path in options.reference]
    windows = MapSet.read(options.windows)
    records = list(measure(reference, windows, options.every))
    if options.held_out:
        records += held_out(reference)
    setting = {
        "reference": " ".join(path.stem for path in options.reference),
        "windows": options.windows.stem,
        "nominal rate": Familiarity().false_alarm_rate,
        "altered windows": len(windows[:: options.every]),
    }
    found = {"setting": setting, "records": records}
    write_results(options.output, found, in_words(found))
    print(in_words(found))


if __name__ == "__main__":
    main()
