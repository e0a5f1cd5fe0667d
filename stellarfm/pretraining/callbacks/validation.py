"""How well a method that learns from labels predicts those that it never saw."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from stellarfm.contracts import LabelledDataset
from stellarfm.output import new_file
from stellarfm.pretraining.lightning_module import PretrainingModule
from stellarfm.pretraining.step_table import StepTable

__all__ = ["PREDICTIONS", "SCORES", "ValidationCallback", "scores"]

#: Files in the folder of a run.
SCORES, PREDICTIONS = "held_out.csv", "predictions.csv"
BATCH = 64


def scores(labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Root mean square error, in units of the labels, and R2 = 1 - MSE / variance; a label of NaN is unknown."""
    known = np.isfinite(labels)
    error, spread = (predictions - labels)[known], labels[known].std()
    mse = float(np.mean(error**2))
    return {"rmse": mse**0.5, "r2": 1.0 - mse / float(spread) ** 2 if spread > 0 else float("nan")}


class ValidationCallback(Callback):
    """Predicts the images that were held out, every so many steps and at the end.

    Scores go to ``held_out.csv``, the last predictions to ``predictions.csv``. They choose nothing: neither a step nor
    a setting.

    Parameters
    ----------
    images : LabelledDataset
        What was held out.
    folder : pathlib.Path
        Of the run.
    every : int
        Steps between predictions.
    """

    def __init__(self, images: LabelledDataset, folder: Path, *, every: int) -> None:
        self.images = images
        self.folder = folder
        self.every = every
        self.table = StepTable(folder / SCORES)
        self.labels = np.stack([images.label(index) for index in range(len(images))])

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Cut the table to what the checkpoint knows."""
        if trainer.is_global_zero:
            self.table.cut(trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Predict, if it is time."""
        assert isinstance(module, PretrainingModule)
        step = trainer.global_step
        if step % self.every and step != module.recipe.steps:
            return
        predictions = self.predict(module)
        if trainer.is_global_zero:
            found = {"step": step, "images": len(self.images), **scores(self.labels, predictions)}
            self.table.add(found)
            for logger in trainer.loggers:
                logger.log_metrics({f"held_out/{name}": found[name] for name in ("rmse", "r2")}, step=step)
            self._write(predictions)

    def predict(self, module: PretrainingModule) -> np.ndarray:
        """Labels that the module reads off the images that were held out, shape (N, numbers)."""
        module.learner.eval()
        parts = []
        for start in range(0, len(self.images), BATCH):
            indices = range(start, min(start + BATCH, len(self.images)))
            images = torch.from_numpy(np.stack([self.images.image(index) for index in indices])).to(module.device)
            found = module.method.predict(module.learner, images)
            assert found is not None
            parts.append(found.float().cpu().numpy())
        module.learner.train()
        return np.concatenate(parts)

    def _write(self, predictions: np.ndarray) -> None:
        """Label and prediction of every image."""
        names = [f"{what} {name}" for what in ("true", "predicted") for name in self.images.label_names]
        with new_file(self.folder / PREDICTIONS, overwrite=True) as path, path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", *names])
            for index, row in enumerate(np.hstack([self.labels, predictions])):
                writer.writerow([index, *(f"{value:.6g}" for value in row)])
