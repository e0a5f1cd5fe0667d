"""Contracts of plugins, and the small records they exchange.

A plugin is a class, named by an entry point of one of the groups in `CONTRACTS`, that inherits the contract of
its group. Its options are the keyword-only parameters of its constructor, each with a default or an annotation,
so that they can be listed without making an instance. This module imports neither torch nor yt: contracts are
mixed into the base class that the implementation needs (an encoder is a `torch.nn.Module` *and* an `Encoder`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    import argparse

    import numpy as np
    import torch

__all__ = [
    "CONTRACTS",
    "IMAGE_CENTER",
    "IMAGE_SCALE",
    "Command",
    "Encoder",
    "Features",
    "LabelledDataset",
    "MassHead",
    "PretrainingDataset",
    "PretrainingMethod",
    "SimulationReader",
    "standardize",
]

#: Images of every dataset are centered on 0.5, with a standard deviation of about 0.2.
IMAGE_CENTER, IMAGE_SCALE = 0.5, 0.2


def standardize(images: Any) -> Any:
    """Return images with zero mean and unit standard deviation: ``(images - IMAGE_CENTER) / IMAGE_SCALE``.

    Parameters
    ----------
    images : torch.Tensor or ndarray
        Images of a `PretrainingDataset`, any shape, floating point.

    Examples
    --------
    >>> import numpy as np
    >>> standardize(np.array([0.5, 0.75])).round(6).tolist()
    [0.0, 1.25]
    """
    return (images - IMAGE_CENTER) / IMAGE_SCALE


class Features(NamedTuple):
    """Image and patch features of a batch of B images.

    Attributes
    ----------
    image : torch.Tensor
        One vector per image, shape (B, embed_dim).
    patches : torch.Tensor
        One vector per patch, shape (B, rows, columns, embed_dim), rows and columns in image order.

    Examples
    --------
    >>> import torch
    >>> from stellarfm.contracts import Features
    >>> image, patches = Features(image=torch.zeros(1, 4), patches=torch.zeros(1, 2, 2, 4))
    >>> image.shape
    torch.Size([1, 4])
    """

    image: torch.Tensor
    patches: torch.Tensor


class Encoder(ABC):
    """Mixin of a `torch.nn.Module` that turns images into features.

    Every encoder takes the keyword-only option ``in_channels`` (default 3), and accepts square images of any side
    that is a multiple of `patch_size`.

    Attributes
    ----------
    embed_dim : int
        Length of a feature vector.
    patch_size : int
        Side of a patch in pixels: the stride of the patch features.
    in_channels : int
        Number of image channels.
    maskable : bool
        True if `encode` accepts a mask of patches to hide, which masked-image methods need.

    Examples
    --------
    >>> from stellarfm import registry
    >>> encoder = registry.create("encoders", "resnet18", in_channels=1)
    >>> encoder.embed_dim, encoder.in_channels, encoder.maskable
    (512, 1, False)
    """

    embed_dim: int
    patch_size: int
    in_channels: int
    maskable: ClassVar[bool] = False

    @abstractmethod
    def encode(self, images: torch.Tensor, *, mask: torch.Tensor | None = None) -> Features:
        """Return image and patch features of a batch.

        Parameters
        ----------
        images : torch.Tensor
            Images, floating point, shape (B, in_channels, side, side), side a multiple of `patch_size`.
        mask : torch.Tensor, optional
            Boolean mask of the patches to hide, shape (B, side / patch_size, side / patch_size). An encoder that is not
            `maskable` raises `ValueError`.
        """

    def layers(self) -> list[list[torch.nn.Parameter]]:
        """Return the parameters layer by layer from input to output, each once, for layer-wise decay of the rate.

        The first layer contains the embedding of pixels, the last the final norm. An empty list (the default) means
        that layers are not distinguished.
        """
        return []

    def stem(self) -> list[torch.nn.Parameter]:
        """Return the parameters of the projection of pixels, which may learn more slowly; empty if there is none."""
        return []


class PretrainingDataset(ABC):
    """Images without labels, each a pure function of (options, index).

    Every dataset takes the keyword-only options ``size`` (pixels), ``seed`` and ``channels``. Nothing may depend on the
    worker, on the order of the calls or on the global random state.

    Attributes
    ----------
    limits : tuple of float
        Smallest and largest value of an image. Independently of them, images have a mean near `IMAGE_CENTER` and a
        standard deviation near `IMAGE_SCALE`: methods call `standardize`.

    Examples
    --------
    >>> from stellarfm import registry
    >>> dataset = registry.create("datasets", "flames", size=16, channels=1)
    >>> dataset.image(3).shape
    (1, 16, 16)
    """

    limits: ClassVar[tuple[float, float]] = (0.0, 1.0)

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images; an endless dataset returns a large number."""

    @abstractmethod
    def image(self, index: int) -> np.ndarray:
        """Return image number `index`: float32 within `limits`, shape (channels, size, size)."""

    def images(self, indices: Sequence[int], *, device: torch.device | str) -> torch.Tensor:
        """Return a batch on `device`, float32, shape (len(indices), channels, size, size).

        The default stacks the results of `image`. A dataset that can make its images on the device itself overrides
        this, so that a training loop on a GPU needs no workers; images must equal those of `image` up to rounding.
        """
        import numpy as np
        import torch

        return torch.from_numpy(np.stack([self.image(index) for index in indices])).to(device)


class LabelledDataset(PretrainingDataset):
    """Images with labels: each has a few numbers, such as a mass or votes, in addition to the result of `image`.

    Attributes
    ----------
    label_names : tuple of str
        Names of the numbers, with their unit.

    Examples
    --------
    >>> import numpy as np
    >>> from stellarfm.contracts import LabelledDataset
    >>> class Brightness(LabelledDataset):
    ...     label_names = ("mean",)
    ...
    ...     def __init__(self, *, size: int = 8, seed: int = 0, channels: int = 1):
    ...         self.shape, self.seed = (channels, size, size), seed
    ...
    ...     def __len__(self):
    ...         return 100
    ...
    ...     def image(self, index):
    ...         return np.full(self.shape, index / 100, dtype=np.float32)
    ...
    ...     def label(self, index):
    ...         return np.array([self.image(index).mean()], dtype=np.float32)
    >>> Brightness().label(50)
    array([0.5], dtype=float32)
    """

    label_names: tuple[str, ...]

    @abstractmethod
    def label(self, index: int) -> np.ndarray:
        """Return the numbers of image `index`: float32, shape (len(label_names),); NaN if unknown."""

    def held_out(self) -> LabelledDataset | None:
        """Return images for validation that this dataset does not contain; None (the default) if there are none."""
        return None


class PretrainingMethod(ABC):
    """Learning method: views of images, a trainable module, named losses, hooks around each step.

    The training loop (`stellarfm.pretraining.training`) owns devices, optimizer, checkpoints and logs; a method defines
    the objective. Its options are keyword-only constructor arguments. It contains no tensors: these are in the module
    that `build` returns, so that one state dictionary contains the whole state of a run.

    With several devices each has its part of a batch, and `generator` is a
    `stellarfm.pretraining.distributed.random.ShardedGenerator`: random numbers drawn through
    `stellarfm.pretraining.distributed.random` give the views that a single device would have made.

    Attributes
    ----------
    labelled : bool
        True if `losses` needs the labels of a `LabelledDataset`.
    example_labels : tuple of str
        Label names that the method accepts, for tests such as those of `stellarfm.testing`.

    Examples
    --------
    >>> from stellarfm import registry
    >>> registry.create("methods", "dinov2").labelled
    False
    """

    labelled: bool = False
    example_labels: ClassVar[tuple[str, ...]] = ("label",)

    def accept_labels(self, names: tuple[str, ...]) -> None:
        """Receive the dataset's `label_names`; called before `build` if the method is `labelled`.

        A method that cannot use such labels raises `stellarfm.exceptions.PretrainingError`.
        """

    @abstractmethod
    def build(self, encoder: Encoder, *, image_size: int, total_steps: int) -> torch.nn.Module:
        """Return the module to be trained, around `encoder`; not all its parameters need a gradient."""

    @abstractmethod
    def views(self, images: torch.Tensor, *, generator: torch.Generator) -> Any:
        """Return augmented views of images (B, channels, size, size) on their device; only `generator` is random."""

    @abstractmethod
    def losses(
        self, module: torch.nn.Module, views: Any, *, step: int, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return named scalar losses of a batch; ``"loss"`` is minimized, the others are logged.

        `labels` (B, numbers) are given if the method is `labelled`.
        """

    @abstractmethod
    def encoder(self, module: torch.nn.Module) -> Encoder:
        """Return the encoder to be exported from a trained module (for example a teacher)."""

    def parameter_groups(self, module: torch.nn.Module) -> list[dict[str, Any]]:
        """Return groups for the optimizer: ``params``, ``lr_scale`` and ``decay_scale`` (factors on the schedules)."""
        params = [p for p in module.parameters() if p.requires_grad]
        return [{"params": params, "lr_scale": 1.0, "decay_scale": 1.0}]

    def predict(self, module: torch.nn.Module, images: torch.Tensor) -> torch.Tensor | None:
        """Return labels (B, numbers) predicted for images (B, channels, size, size); None if not supported."""
        return None

    def before_optimizer(self, module: torch.nn.Module, *, step: int) -> None:
        """Modify gradients between the backward pass and the optimizer step (clip, freeze)."""

    def after_step(self, module: torch.nn.Module, *, step: int) -> None:
        """Update the module after each optimizer step (moving averages)."""


class MassHead(ABC):
    """Predicts log10 mass [solMass] from feature vectors; a scikit-learn estimator.

    An implementation inherits `sklearn.base.BaseEstimator` as well: its constructor takes keyword-only options of plain
    JSON types and only stores them, and `fit` sets attributes that end in an underscore. Distributions and intervals
    are not its task: `stellarfm.inference.masses.calibrated_head.CalibratedHead` adds them by cross-fitting.
    """

    @abstractmethod
    def fit(
        self,
        features: np.ndarray,
        log_mass: np.ndarray,
        *,
        stars: np.ndarray | None = None,
        blocks: Sequence[int] | None = None,
    ) -> MassHead:
        """Learn from N reference windows and return self.

        Parameters
        ----------
        features : ndarray
            Finite feature vectors, shape (N, D).
        log_mass : ndarray
            Log10 of the masses in solMass, shape (N,).
        stars : ndarray, optional
            Star of each window, shape (N,); by default every window is a star of its own.
        blocks : sequence of int, optional
            Lengths of the parts of a feature vector, for heads that scale parts separately; by default one part.

        Raises
        ------
        stellarfm.exceptions.ModelError
            If lengths differ, a value is not finite, or an option is invalid.
        """

    @abstractmethod
    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return predicted log10 masses of feature vectors (Q, D), shape (Q,)."""

    @abstractmethod
    def weights(self, features: np.ndarray) -> np.ndarray:
        """Return the weights of the N reference windows for feature vectors (Q, D), shape (Q, N); rows sum to 1."""

    @abstractmethod
    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the fitted state as arrays of numbers, by name."""

    @abstractmethod
    def from_arrays(self, arrays: dict[str, np.ndarray]) -> MassHead:
        """Set the fitted state from `to_arrays` and return self; nothing is fitted again."""


class SimulationReader(ABC):
    """Reader of one family of simulation files; it never projects.

    It returns a `stellarfm.simulations.Snapshot`, whose gas is read by region. A reader of finished maps returns a
    `stellarfm.maps.MapSet` or `stellarfm.maps.GasMaps`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from stellarfm import registry
    >>> registry.create("readers", "hdf5").can_read(Path("missing.h5"))
    False
    """

    @abstractmethod
    def can_read(self, path: Path) -> bool:
        """Return whether `path` looks like a file of this family; fast, and never raises on a foreign file."""

    @abstractmethod
    def read(self, path: Path) -> Any:
        """Return the contents with units; raise a `stellarfm.exceptions.ReaderError` that names the file."""


class Command(ABC):
    """Sub-command of the program, ``stellarfm NAME``, where the name is that of the entry point.

    It is imported when it is called, not to be listed. The program prints every `stellarfm.exceptions.StellarFMError`
    and `OSError` as one line and exits with code 1. Libraries for computing are imported in `run`, so that
    ``stellarfm NAME --help`` answers at once.

    Examples
    --------
    >>> from stellarfm.contracts import Command
    >>> class Hello(Command):
    ...     def add_arguments(self, parser):
    ...         parser.description = "Print a greeting."
    ...
    ...     def run(self, args):
    ...         print("hello")
    >>> Hello().run(None)
    hello
    """

    @abstractmethod
    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add description, options and sub-commands of its own to `parser`."""

    @abstractmethod
    def run(self, args: argparse.Namespace) -> None:
        """Run the command: data to files, messages to stderr."""


#: Entry-point group -> contract.
CONTRACTS: dict[str, type] = {
    "stellarfm.commands": Command,
    "stellarfm.encoders": Encoder,
    "stellarfm.datasets": PretrainingDataset,
    "stellarfm.heads": MassHead,
    "stellarfm.methods": PretrainingMethod,
    "stellarfm.readers": SimulationReader,
}
