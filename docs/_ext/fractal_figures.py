"""Sphinx extension that draws the figures of the guide to fractals when the documentation is built."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from stellarfm.fractals import VARIATIONS, FlameDataset, FlameMap, Genome, GenomeDataset, Transform, sample_genome
from stellarfm.fractals.acceptance import contrast, coverage
from stellarfm.fractals.rendering import FIXED_WINDOW, compile_genome, render
from stellarfm.fractals.tone_mapping import tone

FOLDER = Path("guide") / "figures"
SIDE, GAP, LABEL = 176, 6, 16


def similarity(scale, x, y, color=0.5):
    """Return a map of [-1, 1]^2 to a square around (x, y), scaled by `scale`."""
    return FlameMap(affine=(scale, 0.0, x, 0.0, scale, y), color=color)


SIERPINSKI = Genome(maps=tuple(similarity(0.5, x, y) for x, y in ((-0.5, 0.5), (0.5, 0.5), (0.0, -0.5))))
#: Eight maps, each a third of the size: Sierpinski's carpet.
CARPET = tuple(similarity(1 / 3, x, y) for x in (-2 / 3, 0.0, 2 / 3) for y in (-2 / 3, 0.0, 2 / 3) if x or y)
#: Four maps that tile the square.
FLAT = Genome(maps=tuple(similarity(0.5, x, y) for x in (-0.5, 0.5) for y in (-0.5, 0.5)))


def picture(genome, **options):
    """Return the image of a genome, gray or with three channels in color; shape (channels, size, size)."""
    options = {"size": SIDE, "colour": "none", "channels": 1, **options}
    return GenomeDataset(genomes=(genome,), **options).image(0)


def chaos_game():
    """Draw one attractor with an increasing number of points."""
    numbers = (100, 1_000, 10_000, 1_000_000)
    return [(picture(SIERPINSKI, points=n), f"{n:,} points") for n in numbers], 4


def variations():
    """Draw a carpet deformed by each variation."""
    unit = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    bent = {name: Genome(maps=CARPET, final=Transform(affine=unit, variations=((name, 1.0),))) for name in VARIATIONS}
    return [(picture(genome, window="quantile"), name) for name, genome in bent.items()], 4


def densities():
    """Draw counts, their logarithm, and the smoothed logarithm."""
    counts = histogram(flame(3), points=300_000)[..., 0]
    linear = np.clip(counts / np.quantile(counts, 0.998), 0, 1)
    logarithm = np.clip(np.log1p(counts) / np.log1p(np.quantile(counts, 0.998)), 0, 1)
    smoothed = tone(histogram(flame(3), points=300_000), channels=1, color="none", gamma=1.0)
    return [(linear[None], "counts"), (logarithm[None], "logarithm"), (smoothed, "logarithm, smoothed")], 3


def channels():
    """Draw the three moments, one by one and as red, green, blue."""
    moments = picture(flame(3), colour="moments", channels=3)
    names = ("density", "mean of the color", "its deviation")
    return [*((moments[k : k + 1], name) for k, name in enumerate(names)), (moments, "as red, green, blue")], 4


def windows():
    """Draw one flame in each window."""
    return [(picture(flame(5), window=window), window) for window in ("fixed", "quantile", "box")], 3


def acceptance():
    """Draw a frame that is too empty, one that is too flat, and an accepted one."""
    cases = [rejected(), FLAT, flame(0)]
    return [(picture(genome), measured(genome)) for genome in cases], 3


def samplers():
    """Draw six genomes of each sampler, before any is rejected."""
    shown = {"flames": "fixed", "ifs": "quantile", "fractaldb": "box"}
    drawn = [(name, index, window) for name, window in shown.items() for index in range(6)]
    label = ("{}", "", "", "", "", "")
    return [
        (picture(sample_genome(name, seed=4, index=index), window=window), label[index].format(name))
        for name, index, window in drawn
    ], 6


def flame(index):
    """Return the genome of a default image."""
    return FlameDataset(size=64).render(index).genome


def rejected():
    """Return the first candidate with a coverage of about one half."""
    drawn = (sample_genome("flames", seed=0, index=index) for index in range(100))
    return next(genome for genome in drawn if 0.4 < coverage(histogram(genome)[..., 0]) < 0.6)


def histogram(genome, points=450_000):
    """Return the histogram in the fixed window."""
    return render(compile_genome(genome), FIXED_WINDOW, size=SIDE, points=points)


def measured(genome):
    """Return the label with coverage and contrast."""
    counts = histogram(genome)[..., 0]
    return f"coverage {coverage(counts):.2f}, contrast {contrast(counts):.2f}"


def sheet(panels, columns):
    """Return one image of labeled panels."""
    rows = -(-len(panels) // columns)
    step = SIDE + GAP
    canvas = Image.new("RGB", (columns * step - GAP, rows * (step + LABEL)), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (image, label) in enumerate(panels):
        x, y = number % columns * step, number // columns * (step + LABEL)
        pixels = np.broadcast_to(np.rint(image * 255).astype(np.uint8), (3, SIDE, SIDE)).transpose(1, 2, 0)
        canvas.paste(Image.fromarray(np.ascontiguousarray(pixels)), (x, y + LABEL))
        draw.text((x + 2, y + 2), label, fill="black")
    return canvas


FIGURES = (chaos_game, variations, densities, channels, windows, acceptance, samplers)


def draw_all(app):
    """Write every figure before the pages are read."""
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for figure in FIGURES:
        sheet(*figure()).save(folder / f"{figure.__name__}.png")


def setup(app):
    app.connect("builder-inited", draw_all)
    return {"parallel_read_safe": True}
