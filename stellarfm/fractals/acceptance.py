"""Which frames are worth an image: full enough, and not flat.

The mass paper (arXiv:2510.24159) keeps a frame if at least 80 % of the plane is covered. A cheap test comes first: at
a quarter of the size with a sixteenth of the points the points per cell are the same, and the coverage is never
lower than in the full frame but for chance; so what fails there need not be rendered.
"""

from __future__ import annotations

import numpy as np

from stellarfm.fractals.render_cpu import Program, Window, render

__all__ = ["COARSE_FACTOR", "MINIMUM_CONTRAST", "accepted_histogram", "contrast", "coverage"]

#: The cheap test divides the size by this number, and the points by its square.
COARSE_FACTOR = 4
#: The cheap test asks for ``threshold + COARSE_MARGIN * threshold * (1 - threshold)``: of 300 flames, none below 0.816
#: covered 0.8 of the full frame, and nineteen in twenty that did had more than 0.85.
COARSE_MARGIN = 0.2
#: Least `contrast` of an image. Uniform noise has about 0.07 at 15 points a pixel.
MINIMUM_CONTRAST = 0.35


def coverage(counts: np.ndarray) -> float:
    """Fraction of the pixels that hold at least one point; `counts` has shape (size, size)."""
    return np.count_nonzero(counts) / counts.size


def contrast(counts: np.ndarray) -> float:
    """Standard deviation of ln(1 + n) over blocks of 4 x 4 pixels, n points each.

    Blocks rather than pixels, because the Poisson noise of a pixel with few points looks like contrast.
    """
    block = COARSE_FACTOR
    side = len(counts) // block
    blocks = counts[: side * block, : side * block].reshape(side, block, side, block).sum(axis=(1, 3))
    return float(np.log1p(blocks).std())


def accepted_histogram(
    program: Program, window: Window, *, size: int, points: int, threshold: float
) -> np.ndarray | None:
    """The histogram of `render`, or None if the frame is not worth an image.

    Parameters
    ----------
    program, window, size, points
        As for `render`.
    threshold : float
        Least coverage, 0 to 1.
    """
    coarse_points = max(points // COARSE_FACTOR**2, 1)
    coarse = render(program, window, size=max(size // COARSE_FACTOR, 1), points=coarse_points)
    if coverage(coarse[..., 0]) < threshold + COARSE_MARGIN * threshold * (1.0 - threshold):
        return None
    histogram = render(program, window, size=size, points=points)
    counts = histogram[..., 0]
    if coverage(counts) < threshold or contrast(counts) < MINIMUM_CONTRAST:
        return None
    return histogram
