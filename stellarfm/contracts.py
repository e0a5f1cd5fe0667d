"""The plugin contracts and the small records they pass.

A plugin is a class, named by an entry point of one of the groups in `CONTRACTS`, that inherits the contract of
its group. Its options are the keyword-only parameters of its constructor, each with a default or an annotation,
so that they can be listed without making an instance. This module imports neither torch nor yt: contracts are
mixed into whatever the implementation needs (an encoder is a `torch.nn.Module` *and* an `Encoder`).
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
    """What an encoder says of a batch of B images.

    Attributes
    ----------
    image : torch.Tensor
        One vector an image, shape (B, embed_dim).
    patches : torch.Tensor
        One vector a patch, shape (B, rows, columns, embed_dim), rows and columns in image order.
    """

    image: torch.Tensor
    patches: torch.Tensor


class Encoder(ABC):
    """A `torch.nn.Module` that turns images into features; mix this class into it.

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
        Whether `encode` accepts a mask of patches to hide (masked-image methods need it).
    """

    embed_dim: int
    patch_size: int
    in_channels: int
    maskable: ClassVar[bool] = False

    @abstractmethod
    def encode(self, images: torch.Tensor, *, mask: torch.Tensor | None = None) -> Features:
        """Image and patch features of a batch.

        Parameters
        ----------
        images : torch.Tensor
            Shape (B, in_channels, side, side), floating point, side a multiple of `patch_size`.
        mask : torch.Tensor, optional
            Boolean, shape (B, side / patch_size, side / patch_size); True patches are hidden from the encoder.
            Only where `maskable`; otherwise a mask raises `ValueError`.
        """

    def layers(self) -> list[list[torch.nn.Parameter]]:
        """Parameters from the input to the output, layer by layer, each once; layer-wise decay of the rate needs them.

        The first layer holds what turns pixels into tokens, the last the final norm. Without any (the default), an
        encoder has no layers to tell apart.
        """
        return []

    def stem(self) -> list[torch.nn.Parameter]:
        """Parameters of the projection of pixels, which may learn more slowly; empty where there is none."""
        return []


class PretrainingDataset(ABC):
    """Images without labels, each a pure function of (options, index).

    Every dataset takes the keyword-only options ``size`` (pixels), ``seed`` and ``channels``. Nothing may depend on the
    worker, on the order of the calls or on global random state.

    Attributes
    ----------
    limits : tuple of float
        Smallest and largest value of an image. Independently of them, images have a mean near `IMAGE_CENTER` and a
        standard deviation near `IMAGE_SCALE`: methods call `standardize`.
    """

    limits: ClassVar[tuple[float, float]] = (0.0, 1.0)

    @abstractmethod
    def __len__(self) -> int:
        """Number of images; an endless dataset returns a large number."""

    @abstractmethod
    def image(self, index: int) -> np.ndarray:
        """Image number `index`: float32 within `limits`, shape (channels, size, size)."""

    def images(self, indices: Sequence[int], *, device: torch.device | str) -> torch.Tensor:
        """A batch, float32 of shape (len(indices), channels, size, size), on `device`.

        A dataset that can make its images on the device itself overrides this; a training loop on a GPU then needs no
        workers. What comes out is what `image` gives, up to the rounding of the device. By default it is just that.
        """
        import numpy as np
        import torch

        return torch.from_numpy(np.stack([self.image(index) for index in indices])).to(device)


class LabelledDataset(PretrainingDataset):
    """Images, each with a few numbers that belong to it (a mass, votes); the image alone stays what `image` gives.

    Attributes
    ----------
    label_names : tuple of str
        What the numbers are, with their unit.
    """

    label_names: tuple[str, ...]

    @abstractmethod
    def label(self, index: int) -> np.ndarray:
        """Numbers of image `index`: float32, shape (len(label_names),); NaN is unknown."""

    def held_out(self) -> LabelledDataset | None:
        """Images that this dataset never gives, to judge on what was learnt; None (the default) if all are given."""
        return None


class PretrainingMethod(ABC):
    """How an encoder learns: views of images, a trainable module, named losses, a hook after each step.

    The training loop (`stellarfm.pretraining.training`) owns devices, optimiser, checkpoints and logs; a method owns
    what is learnt. Its options are keyword-only constructor arguments; it holds no tensors itself - those live in
    the module that `build` returns, so that one state dictionary holds the whole state of a run.

    With several devices each has its share of a batch, and `generator` is then a
    `stellarfm.pretraining.distributed.random.ShardedGenerator`: whoever draws through
    `stellarfm.pretraining.distributed.random` gets the views that one device would have made.

    Attributes
    ----------
    labelled : bool
        Whether `losses` needs the labels of a `LabelledDataset`.
    example_labels : tuple of str
        Names of labels that it accepts, for whoever wants to try it: the checks of `stellarfm.testing`, say.
    """

    labelled: bool = False
    example_labels: ClassVar[tuple[str, ...]] = ("label",)

    def accept_labels(self, names: tuple[str, ...]) -> None:
        """Told the `label_names` of the dataset before `build`, if the method is `labelled`.

        A method that does not know what to do with such labels raises `stellarfm.exceptions.PretrainingError`.
        """

    @abstractmethod
    def build(self, encoder: Encoder, *, image_size: int, total_steps: int) -> torch.nn.Module:
        """The module to be trained, around `encoder`; not all its parameters need a gradient."""

    @abstractmethod
    def views(self, images: torch.Tensor, *, generator: torch.Generator) -> Any:
        """Augmented views of a batch (B, channels, size, size), on its device, random only through `generator`."""

    @abstractmethod
    def losses(
        self, module: torch.nn.Module, views: Any, *, step: int, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Named scalar losses of a batch. ``"loss"`` is the one that is minimised; the others are logged.

        `labels` (B, numbers) are given if the method is `labelled`.
        """

    @abstractmethod
    def encoder(self, module: torch.nn.Module) -> Encoder:
        """The encoder to be exported from a trained module (a teacher, say)."""

    def parameter_groups(self, module: torch.nn.Module) -> list[dict[str, Any]]:
        """Groups for the optimiser: ``params``, ``lr_scale`` and ``decay_scale`` (factors on the schedules)."""
        params = [p for p in module.parameters() if p.requires_grad]
        return [{"params": params, "lr_scale": 1.0, "decay_scale": 1.0}]

    def predict(self, module: torch.nn.Module, images: torch.Tensor) -> torch.Tensor | None:
        """Labels (B, numbers) that a trained module reads off images (B, channels, size, size); None if it cannot."""
        return None

    def before_optimizer(self, module: torch.nn.Module, *, step: int) -> None:
        """Called between the backward pass and the optimiser step: clip, freeze."""

    def after_step(self, module: torch.nn.Module, *, step: int) -> None:
        """Called after each optimiser step: move averages."""


class SimulationReader(ABC):
    """Reads one family of simulation files; it never projects.

    It returns a `stellarfm.simulations.Snapshot`, whose gas is asked for by region. A reader of finished maps returns a
    `stellarfm.maps.MapSet` or `stellarfm.maps.GasMaps`.
    """

    @abstractmethod
    def can_read(self, path: Path) -> bool:
        """Whether `path` looks like a file of this family; quick, and never raises on a foreign file."""

    @abstractmethod
    def read(self, path: Path) -> Any:
        """What the file holds, with units. Raises `stellarfm.exceptions.ReaderError` naming the file."""


class Command(ABC):
    """A sub-command of the program: ``stellarfm NAME``, where the name is that of the entry point.

    It is imported when it is called, never to list it. The program prints every `stellarfm.exceptions.StellarFMError`
    and `OSError` as one line and leaves with exit code 1; what a command imports to compute with belongs into `run`, so
    that ``stellarfm NAME --help`` answers at once.
    """

    @abstractmethod
    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add description, options and sub-commands of its own to `parser`."""

    @abstractmethod
    def run(self, args: argparse.Namespace) -> None:
        """Do it: data to files, words to stderr."""


#: Entry-point group -> contract.
CONTRACTS: dict[str, type] = {
    "stellarfm.commands": Command,
    "stellarfm.encoders": Encoder,
    "stellarfm.datasets": PretrainingDataset,
    "stellarfm.methods": PretrainingMethod,
    "stellarfm.readers": SimulationReader,
}
