"""Figures: a field with its segments and masses, and predicted against true masses.

Figures are made without pyplot, so that drawing changes no global state and needs no display; save them with
``figure.savefig``. Needs matplotlib (``pip install 'stellarfm[plots]'``).
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import QTable

from stellarfm.exceptions import MapError, StellarFMError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from stellarfm.inference.segmentation.segmentation_map import Segmentation
    from stellarfm.maps import GasMaps

__all__ = ["has_matplotlib", "held_out", "overview"]

INK = "#1b2a41"
ACCENT = "#c8553d"
BAR = "#9fb3d1"
#: Okabe-Ito colors without yellow: distinguishable by color-blind readers.
SIMULATION_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")

#: Number of stars above which they are not numbered.
MANY_STARS = 60


def has_matplotlib() -> bool:
    """Return whether matplotlib is installed.

    Examples
    --------
    >>> isinstance(has_matplotlib(), bool)
    True
    """
    return find_spec("matplotlib") is not None


def overview(maps: GasMaps, segmentation: Segmentation, masses: QTable, *, truth: u.Quantity | None = None) -> Figure:
    """Draw six panels of one field: its three maps, colors of its patches, its segments, and the masses.

    Stars have the same numbers (or names) in the first and the last panel.

    Parameters
    ----------
    maps : GasMaps
        Field. If its distance is known, the first panel has a scale bar in parsec.
    segmentation : Segmentation
        Segmentation of the same field.
    masses : QTable
        Result of `StellarModel.estimate`, with ``ra`` and ``dec``.
    truth : Quantity, optional
        True mass of each row of `masses`; if given, the last panel marks them and is sorted by them.

    Returns
    -------
    matplotlib.figure.Figure
        Figure, not yet saved.

    Raises
    ------
    MapError
        If the shapes of segmentation and maps differ, or the lengths of `truth` and `masses`.
    StellarFMError
        If matplotlib is not installed.

    Examples
    --------
    >>> from stellarfm.plotting import overview
    >>> overview(maps, segmentation, masses).savefig("overview.png")  # doctest: +SKIP
    """
    if segmentation.labels.shape != maps.shape:
        raise MapError(f"segmentation of shape {segmentation.labels.shape} for maps of {maps.shape}; expected the same")
    if truth is not None and len(truth) != len(masses):
        raise MapError(f"{len(truth)} true masses for {len(masses)} estimates; expected one each")
    figure = _new_figure(15.5, 9.4)
    panels = [figure.add_subplot(2, 3, number, projection=maps.wcs) for number in range(1, 6)]
    _draw_column(panels[0], maps, masses)
    _draw_velocity(panels[1], maps)
    _draw_dispersion(panels[2], maps)
    _draw_patch_colors(panels[3], segmentation)
    _draw_segments(panels[4], segmentation)
    for number, panel in enumerate(panels):
        _label_axes(panel, maps, declination=number in (0, 3), right_ascension=number >= 2)
    _draw_masses(figure.add_subplot(2, 3, 6), masses, truth)
    return figure


def held_out(predictions: QTable, *, split: str) -> Figure:
    """Draw predicted against true mass of held-out windows, one panel per method and one color per simulation.

    Parameters
    ----------
    predictions : QTable
        Table ``predictions`` of `stellarfm.evaluation.Benchmark`.
    split : {"star", "simulation"}
        Split whose rows are drawn.

    Returns
    -------
    matplotlib.figure.Figure
        Figure, not yet saved.

    Examples
    --------
    >>> from stellarfm.plotting import held_out
    >>> held_out(benchmark.predictions, split="star").savefig("by_star.png")  # doctest: +SKIP
    """
    part = predictions[predictions["split"] == split]
    methods = list(dict.fromkeys(part["method"]))
    figure = _new_figure(4.3 * len(methods), 4.8)
    axes = figure.subplots(1, len(methods), sharex=True, sharey=True, squeeze=False)[0]
    limits = _mass_limits(part["mass_true"].value, part["mass"].value)
    for panel, method in zip(axes, methods, strict=True):
        _draw_cloud_of_points(panel, part[part["method"] == method], limits)
        panel.set_title(method, fontsize=10)
    axes[0].set_ylabel(r"predicted mass [$M_\odot$]")
    axes[0].legend(frameon=False, loc="upper left", markerscale=3, handletextpad=0.1)
    figure.suptitle(f"Held out by {split}: each point a window, never seen with any other of its {split}", fontsize=11)
    return figure


def _new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, size in inches; raise an error if matplotlib is not installed."""
    if not has_matplotlib():
        raise StellarFMError("figures need matplotlib, which is not installed; pip install 'stellarfm[plots]'")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _percentiles(values: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Return percentiles of the finite values."""
    return tuple(np.percentile(values[np.isfinite(values)], [low, high]))


def _color_bar(panel: Any, image: Any, label: str, **options: Any) -> Any:
    bar = panel.figure.colorbar(image, ax=panel, pad=0.015, fraction=0.046, **options)
    bar.set_label(label)
    bar.outline.set_visible(False)
    return bar


def _draw_column(panel: Any, maps: GasMaps, masses: QTable) -> None:
    """Draw the column density in a logarithmic stretch, with the stars and a scale bar."""
    from matplotlib.colors import LogNorm

    values = maps.column_density.to_value("cm-2")
    low, high = _percentiles(np.where(values > 0, values, np.nan), 1, 99.9)
    image = panel.imshow(values, cmap="inferno", norm=LogNorm(low, high), origin="lower", interpolation="nearest")
    _color_bar(panel, image, r"$N_\mathrm{H}$ [cm$^{-2}$]", extend="both")
    panel.set_title("Column density and stars")
    panel.scatter(
        masses["ra"].to_value("deg"),
        masses["dec"].to_value("deg"),
        transform=panel.get_transform("icrs"),
        s=34,
        facecolors="none",
        edgecolors="#7fdbff",
        linewidths=1.1,
    )
    if len(masses) <= MANY_STARS:
        _draw_star_names(panel, maps, masses)
    if maps.distance is not None:
        _draw_scale_bar(panel, maps)


def _draw_star_names(panel: Any, maps: GasMaps, masses: QTable) -> None:
    """Draw the name of each star next to it, where the fewest stars and other names are near."""
    from matplotlib.patheffects import withStroke

    pixels = maps.wcs.world_to_pixel_values(masses["ra"].to_value("deg"), masses["dec"].to_value("deg"))
    stars, side = np.stack(pixels, axis=1), max(maps.shape)
    angles = np.arange(0, 2 * np.pi, np.pi / 6)
    steps = np.stack([np.cos(angles), np.sin(angles)], axis=1) * side * np.array([0.034, 0.055])[:, None, None]
    taken = list(stars)
    for name, star in zip(_star_names(masses), stars, strict=True):
        places = star + steps.reshape(-1, 2)
        nearest = [np.sort(np.hypot(*(place - np.array(taken)).T))[0] for place in places]
        inside = np.all((places > 0.02 * side) & (places < np.array(maps.shape[::-1]) - 0.02 * side), axis=1)
        near = np.where(inside, np.minimum(nearest, 0.034 * side), -1)
        taken.append(places[near.argmax()])
        panel.text(
            *taken[-1],
            name,
            color="white",
            fontsize=7,
            ha="center",
            va="center",
            clip_on=True,
            path_effects=[withStroke(linewidth=1.5, foreground="black")],
        )


def _draw_scale_bar(panel: Any, maps: GasMaps) -> None:
    """Draw a bar of a round length, about a fifth of the field."""
    from matplotlib.patheffects import withStroke

    parsec = maps.pixel_scale.to_value("pc")
    longest = 0.2 * maps.shape[1] * parsec
    length = max(step for step in (10.0 ** np.arange(-4, 4)[:, None] * [1, 2, 5]).ravel() if step <= longest)
    left, bottom = 0.05 * maps.shape[1], 0.06 * maps.shape[0]
    outline = [withStroke(linewidth=4, foreground="black")]
    panel.plot([left, left + length / parsec], [bottom, bottom], color="white", lw=2, path_effects=outline)
    panel.text(left, 1.3 * bottom, f"{length:g} pc", color="white", va="bottom", weight="bold", path_effects=outline)


def _draw_velocity(panel: Any, maps: GasMaps) -> None:
    """Draw the velocity about the column-weighted mean, blue approaching."""
    velocity, column = maps.velocity.to_value("km/s"), maps.column_density.to_value("cm-2")
    weight = np.where(maps.mask, 0.0, column)
    velocity = velocity - np.average(np.where(maps.mask, 0.0, velocity), weights=weight)
    _, limit = _percentiles(np.abs(velocity), 0, 99)
    image = panel.imshow(velocity, cmap="RdBu_r", vmin=-limit, vmax=limit, origin="lower", interpolation="nearest")
    _color_bar(panel, image, r"$v - \langle v \rangle$ [km s$^{-1}$]", extend="both")
    panel.set_title("Line-of-sight velocity")


def _draw_dispersion(panel: Any, maps: GasMaps) -> None:
    """Draw the velocity dispersion."""
    values = maps.velocity_dispersion.to_value("km/s")
    low, high = _percentiles(values, 0.5, 99.5)
    image = panel.imshow(values, cmap="viridis", vmin=low, vmax=high, origin="lower", interpolation="nearest")
    _color_bar(panel, image, r"$\sigma_v$ [km s$^{-1}$]", extend="both")
    panel.set_title("Velocity dispersion")


def _draw_patch_colors(panel: Any, segmentation: Segmentation) -> None:
    """Draw the first three principal components of the patch features as red, green, blue; white if missing."""
    channels = [_stretched(segmentation.components[number]) for number in range(3)]
    panel.imshow(np.dstack(channels), origin="lower", interpolation="nearest")
    panel.set_title("Patch features: first three components")


def _stretched(values: np.ndarray) -> np.ndarray:
    """Return `values` scaled to 0 (2nd percentile) to 1 (98th); NaN becomes 1."""
    low, high = _percentiles(values, 2, 98)
    scaled = np.clip((values - low) / max(high - low, np.finfo(float).tiny), 0, 1)
    return np.nan_to_num(scaled, nan=1.0)


def _draw_segments(panel: Any, segmentation: Segmentation) -> None:
    """Draw segments in discrete colors, dark to bright in their order; pixels of none are white."""
    import matplotlib
    from matplotlib.colors import BoundaryNorm, ListedColormap

    numbers = np.unique(segmentation.labels[segmentation.labels > 0])
    colors = ListedColormap(matplotlib.colormaps["plasma"](np.linspace(0.02, 0.95, len(numbers))))
    norm = BoundaryNorm(np.append(numbers - 0.5, numbers[-1] + 0.5), len(numbers))
    labels = np.ma.masked_less(segmentation.labels, 1)
    image = panel.imshow(labels, cmap=colors, norm=norm, origin="lower", interpolation="nearest")
    bar = _color_bar(panel, image, "segment", ticks=numbers)
    bar.ax.tick_params(length=0)
    panel.set_title("Segments")


def _label_axes(panel: Any, maps: GasMaps, *, right_ascension: bool, declination: bool) -> None:
    """Draw the axis labels of a map panel at outer sides only: neighboring panels share theirs."""
    names = maps.wcs.world_axis_physical_types
    for axis, name, side, visible in zip(panel.coords, names, "bl", (right_ascension, declination), strict=True):
        axis.set_ticks_position(side)
        axis.set_ticklabel_position(side)
        axis.set_axislabel_position(side)
        axis.set_axislabel(_axis_name(name) if visible else " ")
        axis.set_ticklabel_visible(visible)
    panel.set_xlim(-0.5, maps.shape[1] - 0.5)
    panel.set_ylim(-0.5, maps.shape[0] - 0.5)


def _axis_name(physical_type: str) -> str:
    """Return the name of a physical type in words: right ascension for ``pos.eq.ra``."""
    names = {"ra": "right ascension", "dec": "declination", "lon": "longitude", "lat": "latitude"}
    return names.get(physical_type.rpartition(".")[2], physical_type)


def _mass_limits(*masses: np.ndarray) -> tuple[float, float]:
    """Return limits of a logarithmic mass axis around all finite, positive masses."""
    values = np.concatenate([np.ravel(mass) for mass in masses])
    values = values[np.isfinite(values) & (values > 0)]
    return float(values.min() / 1.5), float(values.max() * 1.5)


def _log_square(panel: Axes, limits: tuple[float, float]) -> None:
    """Set logarithmic axes of equal limits, with the line of equality."""
    panel.set(xscale="log", yscale="log", xlim=limits, ylim=limits, aspect="equal")
    panel.plot(limits, limits, color="0.6", lw=1, zorder=0)
    panel.spines[["top", "right"]].set_visible(False)
    panel.set_xlabel(r"true mass [$M_\odot$]")


def _star_names(masses: QTable) -> list[str]:
    """Return the names of the stars, or their row numbers from 1."""
    return [str(name) for name in (masses["star"] if "star" in masses.colnames else range(1, len(masses) + 1))]


def _draw_masses(panel: Axes, masses: QTable, truth: u.Quantity | None) -> None:
    """Draw estimates with their intervals, one star per line, lightest at the bottom, and true masses if known.

    Symbols of flagged stars are open. Stars without a mass are left out.
    """
    mass, true = masses["mass"].to_value("solMass"), None if truth is None else truth.to_value("solMass")
    order = np.argsort(mass if true is None else true)
    order = order[np.isfinite(mass[order])]
    mass, rank, table = mass[order], np.arange(len(order)), masses[order]
    ends = [_interval_ends(table, level) for level in ("68", "95")]
    limits = _mass_limits(mass, *ends[0], *ends[1], *([] if true is None else [true[order]]))
    for (lower, upper), level, width, color in zip(ends, ("68", "95"), (5, 1.3), (BAR, INK), strict=True):
        lower, upper = np.maximum(lower, limits[0] / 10), np.minimum(upper, limits[1] * 10)  # infinite intervals
        panel.hlines(rank, lower, upper, color=color, lw=width, zorder=6 - width, label=f"{level} % interval")
    flagged = np.asarray(table["flags"]) > 0
    for chosen, face, label in ((~flagged, ACCENT, "median"), (flagged, "white", "median, flagged")):
        if chosen.any():
            points = panel.scatter(mass[chosen], rank[chosen], c=face, edgecolors=ACCENT, s=22, label=label)
            points.set_zorder(7)
    title = "Estimated masses"
    if true is not None:
        panel.scatter(true[order], rank, marker="|", s=90, color="black", linewidths=1.8, zorder=8, label="true mass")
        rmse = np.sqrt(np.mean(np.log10(mass / true[order]) ** 2))
        title = f"Estimated and true masses: RMSE {rmse:.2f} dex"
    panel.set(xscale="log", xlim=limits, title=title, xlabel=r"mass [$M_\odot$]", ylabel="star")
    names = _star_names(masses)
    few = len(order) <= MANY_STARS
    panel.set_yticks(rank if few else [], [names[row] for row in order] if few else [], fontsize=7)
    panel.tick_params(axis="y", length=0)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.legend(frameon=False, loc="lower right", fontsize=8)


def _interval_ends(masses: QTable, level: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the intervals of a level, solMass."""
    return tuple(masses[f"mass_{end}_{level}"].to_value("solMass") for end in ("lower", "upper"))


def _draw_cloud_of_points(panel: Axes, part: QTable, limits: tuple[float, float]) -> None:
    """Draw the windows of one method, colored by simulation."""
    _log_square(panel, limits)
    for number, name in enumerate(sorted(set(part["simulation"]))):
        chosen = part["simulation"] == name
        color = SIMULATION_COLORS[number % len(SIMULATION_COLORS)]
        true, mass = part["mass_true"][chosen].value, part["mass"][chosen].value
        panel.scatter(true, mass, s=5, color=color, alpha=0.35, linewidths=0, label=str(name))
