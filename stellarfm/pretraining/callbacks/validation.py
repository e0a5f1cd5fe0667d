"""Callback that predicts the labels of held-out images every N steps."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer

from stellarfm.contracts import LabelledDataset
from stellarfm.output import new_file
from stellarfm.pretraining.callbacks.step_callback import StepCallback
from stellarfm.pretraining.lightning_module import PretrainingModule

__all__ = ["PREDICTIONS", "SCORES", "ValidationCallback", "scores"]

#: Files in the folder of a run.
SCORES, PREDICTIONS = "held_out.csv", "predictions.csv"
#: Images that are predicted at once.
BATCH = 64


def scores(labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Return the root mean square error and the coefficient of determination of predictions.

    Parameters
    ----------
    labels, predictions : numpy.ndarray
        Shape (N, n_labels); unknown labels are NaN.

    Returns
    -------
    dict
        ``rmse``, in units of the labels, and ``r2`` = 1 - MSE / variance.

    Examples
    --------
    >>> import numpy as np
    >>> from stellarfm.pretraining.callbacks.validation import scores
    >>> scores(np.array([[0.0], [2.0], [np.nan]]), np.array([[0.5], [1.5], [9.0]]))
    {'rmse': 0.5, 'r2': 0.75}
    """
    known = np.isfinite(labels)
    error, spread = (predictions - labels)[known], labels[known].std()
    mse = float(np.mean(error**2))
    return {"rmse": mse**0.5, "r2": 1.0 - mse / float(spread) ** 2 if spread > 0 else float("nan")}


class ValidationCallback(StepCallback):
    """Predicts the held-out images every N steps and after the last step.

    Scores are written to ``held_out.csv``, the last predictions to ``predictions.csv``. They are not used to select a
    step or a setting.

    Parameters
    ----------
    images : LabelledDataset
        Held-out images.
    folder : pathlib.Path
        Folder of the run.
    every : int
        Number of steps between predictions.
    """

    def __init__(self, images: LabelledDataset, folder: Path, *, every: int) -> None:
        super().__init__(every=every, table=folder / SCORES, prefix="held_out/")
        self.images = images
        self.folder = folder
        self.labels = np.stack([images.label(index) for index in range(len(images))])

    def on_due_step(self, trainer: Trainer, module: PretrainingModule, batch: Any) -> None:
        """Predict the held-out images; write their scores and the predictions."""
        predictions = self.predict(module)
        if trainer.is_global_zero:
            self.log_row(trainer, scores(self.labels, predictions), images=len(self.images))
            self._write(predictions)

    def predict(self, module: PretrainingModule) -> np.ndarray:
        """Return the predicted labels of the held-out images, shape (N, n_labels)."""
        module.learner.eval()
        batches = []
        for start in range(0, len(self.images), BATCH):
            indices = range(start, min(start + BATCH, len(self.images)))
            images = torch.from_numpy(np.stack([self.images.image(index) for index in indices])).to(module.device)
            predicted = module.method.predict(module.learner, images)
            assert predicted is not None
            batches.append(predicted.float().cpu().numpy())
        module.learner.train()
        return np.concatenate(batches)

    def _write(self, predictions: np.ndarray) -> None:
        """Write label and prediction of every image."""
        names = [f"{what} {name}" for what in ("true", "predicted") for name in self.images.label_names]
        with new_file(self.folder / PREDICTIONS, overwrite=True) as path, path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", *names])
            for index, row in enumerate(np.hstack([self.labels, predictions])):
                writer.writerow([index, *(f"{value:.6g}" for value in row)])
