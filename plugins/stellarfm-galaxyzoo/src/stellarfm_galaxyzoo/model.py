"""Model of galaxy morphology: encoder, head and calibration, stored as JSON and safetensors."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from stellarfm.encoders.weights import save_weights
from stellarfm.exceptions import InputNotFoundError, ModelError
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.output import new_directory
from stellarfm_galaxyzoo.augmentations import standardize
from stellarfm_galaxyzoo.dirichlet_calibration import Calibration
from stellarfm_galaxyzoo.images import read_image
from stellarfm_galaxyzoo.readout_heads import HEADS, LinearHead, NeighborHead
from stellarfm_galaxyzoo.schema import Schema

if TYPE_CHECKING:
    from stellarfm.contracts import Encoder

__all__ = ["GalaxyModel", "ImageOptions", "ImageSource", "batches", "features_of"]

FORMAT = 1
CONFIG, ENCODER, HEAD, CARD = "config.json", "encoder.safetensors", "head.safetensors", "README.md"
BATCH = 64


class ImageSource(Protocol):
    """Source of images by number: a dataset, or `FileImages`."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> np.ndarray:
        """Return image number `index`, float32 in [0, 1], shape (channels, size, size)."""


@dataclass(frozen=True)
class ImageOptions:
    """Options with which image files are read; see `stellarfm_galaxyzoo.images.read_image`."""

    size: int = 64
    channels: int = 3
    scales: tuple[float, ...] | None = None
    softening: float = 8.0


@dataclass(frozen=True)
class FileImages:
    """Source of the images in files."""

    paths: Sequence[Path]
    options: ImageOptions

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, index: int) -> np.ndarray:
        """Return image number `index`."""
        return read_image(self.paths[index], **asdict(self.options))


def batches(images: ImageSource, device: torch.device) -> Iterator[torch.Tensor]:
    """Yield all images, standardized, in batches of similar size."""
    for rows in np.array_split(np.arange(len(images)), -(-len(images) // BATCH)):
        stack = np.stack([images.image(int(row)) for row in rows])
        yield standardize(torch.from_numpy(stack).to(device))


@torch.no_grad()
def features_of(encoder: Encoder, images: ImageSource) -> np.ndarray:
    """Return the features (N, embed_dim) of all images, with the encoder in evaluation mode."""
    module: Any = encoder
    module.eval()
    device = next(module.parameters()).device
    return np.concatenate([encoder.encode(batch).image.float().cpu().numpy() for batch in batches(images, device)])


@dataclass(frozen=True)
class GalaxyModel:
    """Predictor of the answers of volunteers to the questions of a schema.

    Attributes
    ----------
    encoder : FrozenEncoder
        Encoder with its name and options.
    head : LinearHead or NeighborHead
        Head that maps features to concentrations.
    calibration : Calibration
        Calibration of the concentrations.
    schema : Schema
        Questions that the model answers.
    images : ImageOptions
        Options with which image files are read.
    training : dict
        Record of the training.

    Examples
    --------
    >>> import numpy as np
    >>> from stellarfm_galaxyzoo import GalaxyModel, SyntheticSurvey, finetune
    >>> survey = SyntheticSurvey(size=16, count=12, labelled=1.0, schema=["rings"])
    >>> votes = np.stack([survey.label(index) for index in range(12)])
    >>> model = finetune(survey, votes, survey.schema, encoder="dinov2-vit-nano8", head="knn")
    >>> isinstance(model, GalaxyModel), model.training["labels"]
    (True, 12)
    """

    encoder: FrozenEncoder
    head: LinearHead | NeighborHead
    calibration: Calibration
    schema: Schema
    images: ImageOptions
    training: dict[str, Any] = field(default_factory=dict)

    def concentrations(self, images: ImageSource) -> np.ndarray:
        """Return calibrated concentrations of all answers, shape (N, answers)."""
        raw = self.head.predict(features_of(self.encoder.module, images))
        return self.calibration.apply(raw, self.schema)

    def concentrations_of_files(self, paths: Sequence[Path]) -> np.ndarray:
        """Return calibrated concentrations for image files, shape (N, answers)."""
        return self.concentrations(FileImages(paths, self.images))

    def save(self, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
        """Write a model directory, which appears whole or not at all."""
        with new_directory(path, overwrite=overwrite) as folder:
            save_weights(self.encoder.module, folder / ENCODER)  # type: ignore[arg-type]
            tensors = {name: np.ascontiguousarray(values) for name, values in self.head.tensors().items()}
            (folder / HEAD).write_bytes(save(tensors))
            (folder / CONFIG).write_text(json.dumps(self._config(), indent=1) + "\n")
            (folder / CARD).write_text(self._card())
        return Path(path)

    def _config(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "encoder": {"name": self.encoder.name, "options": self.encoder.options},
            "head": self.head.kind,
            "calibration": self.calibration.as_dict(),
            "images": asdict(self.images),
            "schema": self.schema.as_dict(),
            "training": self.training,
            "versions": {name: version(name) for name in ("stellarfm", "stellarfm-galaxyzoo", "torch")},
        }

    def _card(self) -> str:
        facts = "\n".join(f"- {name}: {value}" for name, value in self.training.items())
        return (
            f"# Galaxy morphology, {len(self.schema.questions)} questions\n\nEncoder `{self.encoder.name}`, head "
            f"`{self.head.kind}`, made by stellarfm-galaxyzoo.\n\n{facts}\n"
        )

    @classmethod
    def load(cls, path: str | os.PathLike) -> GalaxyModel:
        """Read a model directory. Nothing in it is executed.

        Raises
        ------
        InputNotFoundError
            If there is no model at `path`.
        ModelError
            If it is damaged or has another format.
        """
        folder = Path(path)
        if not (folder / CONFIG).is_file():
            raise InputNotFoundError(f"{folder} is not a model; expected a directory of `stellarfm galaxyzoo finetune`")
        try:
            return cls._from_config(folder, json.loads((folder / CONFIG).read_text()))
        except (KeyError, TypeError, AttributeError, SafetensorError, json.JSONDecodeError) as error:
            raise ModelError(f"{folder} is damaged ({error!r}); create the model again") from error

    @classmethod
    def _from_config(cls, folder: Path, config: dict[str, Any]) -> GalaxyModel:
        if config["format"] != FORMAT:
            raise ModelError(f"{folder} has format {config['format']}; this version reads {FORMAT}: update the package")
        for name in (ENCODER, HEAD):
            if not (folder / name).is_file():
                raise ModelError(f"{folder} lacks {name}; copy the whole directory, or create the model again")
        name, options = config["encoder"]["name"], config["encoder"]["options"]
        scales = config["images"].pop("scales")
        return cls(
            FrozenEncoder.load(name, options, folder / ENCODER, {}),
            HEADS[config["head"]].from_tensors(load((folder / HEAD).read_bytes())),
            Calibration(*(np.array(config["calibration"][key]) for key in ("sharpness", "certainty", "spread"))),
            Schema.from_dict(config["schema"]),
            ImageOptions(**config["images"], scales=None if scales is None else tuple(scales)),
            config["training"],
        )
