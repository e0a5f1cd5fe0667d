"""Feature vectors and patch features of images from a frozen encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stellarfm.exceptions import ModelError
from stellarfm.inference.encoding.radial_profiles import N_RINGS, image_profiles
from stellarfm.inference.encoding.statistics import STATISTIC_NAMES

if TYPE_CHECKING:
    import torch

    from stellarfm.contracts import Encoder

__all__ = ["DEFAULT_POOLING", "POOLINGS", "STATISTICS", "Readout", "extract_patches"]

#: Ways to pool the output of an encoder into one vector.
POOLINGS = ("class", "mean", "rings", "zooms", "profiles", "statistics")

#: Pooling that needs neither encoder nor scaled images.
STATISTICS = "statistics"

#: Poolings of the bundled model.
DEFAULT_POOLING = ("statistics",)

#: Channel whose sign flips when a cloud is seen from the opposite side.
VELOCITY_CHANNEL = 1


@dataclass(frozen=True, kw_only=True)
class Readout:
    """Pooling of encoder output into one feature vector per window.

    Rings are the default: the star is at the center of its window, and the mass depends on the distribution of the gas
    around it. Zooms resolve its surroundings better, at the cost of one more pass through the encoder for each view.

    Parameters
    ----------
    pooling : str or sequence of str
        ``"class"`` is the encoder's own image vector, ``"mean"`` the mean of its patch vectors, ``"rings"`` their
        means in concentric rings about the center, where the star is; ``"zooms"`` are such rings of several views,
        each of which magnifies the center of the previous one by two
        (`stellarfm.inference.encoding.zoom_views.zoomed`). ``"profiles"`` does not use the encoder: means and scatters
        of the images themselves in rings (`stellarfm.inference.encoding.radial_profiles.image_profiles`). Neither does
        ``"statistics"``: 121 physical statistics of the maps in rings
        (`stellarfm.inference.encoding.statistics.window_statistics`). Several are concatenated in the order given.
    n_rings : int
        Number of rings; at most half the patches of a side.
    zooms : int
        Number of views of ``"zooms"``, the whole window included.
    symmetries : bool
        Average over the eight symmetries of the square: a mass does not depend on the orientation on the sky.
    mirror : bool
        Average also over the sign of the velocity channel: a mass does not depend on the side it is observed from.

    Raises
    ------
    ModelError
        If `pooling` is unknown, or `n_rings` or `zooms` is below 1.

    Examples
    --------
    >>> Readout(pooling="rings", n_rings=2)
    Readout(pooling=('rings',), n_rings=2, zooms=3, symmetries=False, mirror=False)
    >>> from stellarfm.encoders.resnet import ResNet18
    >>> Readout(pooling=("class", "rings"), n_rings=2).lengths(ResNet18(), side=64)
    (512, 1024)
    """

    pooling: tuple[str, ...] = ("rings",)
    n_rings: int = 4
    zooms: int = 3
    symmetries: bool = False
    mirror: bool = False

    def __post_init__(self) -> None:
        """Accept one name or several; raise `ModelError` for invalid options."""
        object.__setattr__(self, "pooling", _check_pooling(self.pooling))
        for name in ("n_rings", "zooms"):
            if getattr(self, name) < 1:
                raise ModelError(f"{name} is {getattr(self, name)}; expected 1 or more")

    def lengths(self, encoder: Encoder | None, *, side: int) -> tuple[int, ...]:
        """Return the length of each pooling's part of a feature vector, for windows of `side` pixels.

        Without an encoder (None), the readout must be ``"statistics"`` alone.
        """
        if encoder is None:
            self._check_no_encoder()
            return (len(STATISTIC_NAMES),)
        rings = int(ring_index(side // encoder.patch_size, self.n_rings).max()) + 1
        known = {
            "class": encoder.embed_dim,
            "mean": encoder.embed_dim,
            "rings": rings * encoder.embed_dim,
            "zooms": self.zooms * rings * encoder.embed_dim,
            "profiles": 2 * encoder.in_channels * N_RINGS,
            STATISTICS: len(STATISTIC_NAMES),
        }
        return tuple(known[name] for name in self.pooling)

    @property
    def needs_images(self) -> bool:
        """Whether scaled images, and so scaler and encoder, are needed."""
        return self.pooling != (STATISTICS,)

    def _check_no_encoder(self) -> None:
        """Raise `ModelError` for a readout that needs an encoder."""
        if self.needs_images:
            raise ModelError(f"readout {' + '.join(self.pooling)} needs an encoder; give one, or read out 'statistics'")

    def extract(self, encoder: Encoder, images: np.ndarray, *, batch_size: int = 64) -> np.ndarray:
        """Return one feature vector for each image.

        Parameters
        ----------
        encoder : Encoder
            Frozen encoder; it is in evaluation mode during the call.
        images : ndarray
            Output of `stellarfm.maps.MapScaler.transform`, shape (N, channels, side, side).
        batch_size : int
            Number of images encoded at once.

        Returns
        -------
        ndarray
            Feature vectors, shape (N, D), float32.

        Raises
        ------
        ModelError
            If the images do not fit the encoder, are too small for `zooms` views, or `pooling` contains
            ``"statistics"``, which are computed from maps and not from images.
        """
        if STATISTICS in self.pooling:
            raise ModelError("statistics are computed from maps, not from images; call Embedder.features")
        rows = [_averaged(encoder, batch, self) for batch in _batches(images, batch_size)]
        return np.concatenate(rows).astype(np.float32)


def _check_pooling(pooling: str | Sequence[str]) -> tuple[str, ...]:
    """Return `pooling` as a tuple of names; raise `ModelError` for an unknown one."""
    chosen = (pooling,) if isinstance(pooling, str) else tuple(pooling)
    if not chosen or not set(chosen) <= set(POOLINGS):
        raise ModelError(f"pooling {pooling!r} is not known; choose from {', '.join(POOLINGS)} or several of them")
    return chosen


def extract_patches(encoder: Encoder, images: np.ndarray, *, batch_size: int = 64) -> np.ndarray:
    """Return patch features of each image, shape (N, rows, columns, embed_dim), float32."""
    return np.concatenate([_encode(encoder, batch)[1] for batch in _batches(images, batch_size)])


def _batches(images: np.ndarray, batch_size: int) -> Iterator[torch.Tensor]:
    """Yield consecutive batches of `images` as tensors."""
    import torch

    if images.ndim != 4 or len(images) == 0:
        raise ModelError(f"images of shape {images.shape}; expected (N, channels, side, side) with N > 0")
    for start in range(0, len(images), batch_size):
        yield torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size], dtype=np.float32))


@contextmanager
def _frozen(encoder: Encoder) -> Iterator[torch.nn.Module]:
    """Put the encoder into evaluation mode without gradients; restore its mode afterwards."""
    import torch

    module: torch.nn.Module = encoder  # type: ignore[assignment]
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield module
    finally:
        module.train(training)


def _encode(encoder: Encoder, images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return image (B, D) and patch (B, rows, columns, D) features of a batch, on the CPU."""
    if images.shape[1] != encoder.in_channels or images.shape[-1] % encoder.patch_size:
        raise ModelError(
            f"images of shape {tuple(images.shape[1:])} do not fit the encoder; "
            f"expected {encoder.in_channels} channels and a side that is a multiple of {encoder.patch_size}"
        )
    with _frozen(encoder) as module:
        device = next(module.parameters()).device
        features = encoder.encode(images.to(device))
    return features.image.float().cpu().numpy(), features.patches.float().cpu().numpy()


def _averaged(encoder: Encoder, images: torch.Tensor, readout: Readout) -> np.ndarray:
    """Return the pooled features of a batch, averaged over its transformed copies."""
    copies = [_pool(copy, encoder, readout) for copy in _copies(images, readout.symmetries, readout.mirror)]
    return np.mean(copies, axis=0)


def _copies(images: torch.Tensor, symmetries: bool, mirror: bool) -> Iterator[torch.Tensor]:
    """Yield the images, then rotated and reflected copies, and the same with flipped velocity, as the options say."""
    import torch

    for copy in (images, _mirrored(images)) if mirror else (images,):
        for quarter_turns in range(4 if symmetries else 1):
            rotated = torch.rot90(copy, quarter_turns, dims=(-2, -1))
            yield rotated
            if symmetries:
                yield rotated.flip(-1)


def _mirrored(images: torch.Tensor) -> torch.Tensor:
    """Return a copy with the velocity channel negated."""
    mirrored = images.clone()
    mirrored[:, VELOCITY_CHANNEL] *= -1
    return mirrored


def _pool(images: torch.Tensor, encoder: Encoder, readout: Readout) -> np.ndarray:
    """Return the chosen vectors, concatenated, shape (B, D)."""
    if readout.pooling == ("profiles",):
        return image_profiles(images.numpy())
    image, patches = _encode(encoder, images)
    parts = {
        "class": lambda: image,
        "mean": lambda: patches.mean(axis=(1, 2)),
        "rings": lambda: _ring_means(patches, readout.n_rings),
        "zooms": lambda: np.concatenate(
            [_ring_means(view, readout.n_rings) for view in _zoomed_patches(encoder, images, patches, readout.zooms)],
            axis=1,
        ),
        "profiles": lambda: image_profiles(images.numpy()),
    }
    return np.concatenate([parts[name]() for name in readout.pooling], axis=1)


def _zoomed_patches(encoder: Encoder, images: torch.Tensor, patches: np.ndarray, zooms: int) -> Iterator[np.ndarray]:
    """Yield the patch features of every view, beginning with `patches`, those of the whole windows."""
    from stellarfm.inference.encoding.zoom_views import zoomed

    views = zoomed(images, zooms)
    next(views)
    yield patches
    for view in views:
        yield _encode(encoder, view)[1]


def _ring_means(patches: np.ndarray, n_rings: int) -> np.ndarray:
    """Return the mean patch vectors of concentric rings, innermost first, shape (B, rings * embed_dim)."""
    ring = ring_index(patches.shape[1], n_rings)
    means = [patches[:, ring == number].mean(axis=1) for number in range(ring.max() + 1)]
    return np.concatenate(means, axis=1)


def ring_index(side: int, n_rings: int) -> np.ndarray:
    """Return the ring of each patch of a (side, side) grid, 0 at the center; corners belong to the outermost ring."""
    n_rings = max(1, min(n_rings, side // 2))
    offset = np.arange(side) - (side - 1) / 2
    radius = np.hypot(*np.meshgrid(offset, offset))
    return np.minimum((radius / (side / 2) * n_rings).astype(int), n_rings - 1)
