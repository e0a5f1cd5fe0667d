"""Output folder of a run: created for a new run, or checked before one is continued."""

from __future__ import annotations

import json
import os
import zipfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from stellarfm.exceptions import PretrainingError
from stellarfm.output import new_file, run_directory
from stellarfm.pretraining.recipe import PLUGINS, Recipe

__all__ = [
    "FILES",
    "RESUMABLE_SETTINGS",
    "initial_weights",
    "latest_checkpoint",
    "own_directory",
    "resume_checkpoint",
    "start_run",
]

RECORD = "run.json"
#: Patterns of all files of a run.
FILES = (
    RECORD,
    "checkpoints/*.ckpt",
    "encoder.safetensors",
    "encoder.json",
    "README.md",
    "log.csv",
    "probe.csv",
    "probe.png",
    "held_out.csv",
    "predictions.csv",
    "tensorboard/*",
)
#: Settings that may change when a run is resumed, because they do not affect what is learned.
RESUMABLE_SETTINGS = frozenset(
    {
        "workers",
        "torch_threads",
        "checkpoint_steps",
        "checkpoint_minutes",
        "log_steps",
        "max_hours",
        "monitors",
        "plugins",
        "strategy",
        "render",
    }
)


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint of the latest step in `folder`, or None."""
    return max(folder.glob("step-*.ckpt"), default=None)


def own_directory(folder: Path, *, resume: bool, overwrite: bool) -> AbstractContextManager[Path]:
    """Lock the folder of a run and create it unless resumed; a replaced run is kept until there is a checkpoint."""
    return run_directory(
        folder,
        patterns=FILES,
        usable=lambda path: latest_checkpoint(path / "checkpoints") is not None,
        overwrite=overwrite,
        resume=resume,
    )


def start_run(folder: Path, recipe: Recipe, *, init: str | os.PathLike | None = None) -> None:
    """Write the record of a new run into its folder, which exists."""
    record = {**_description(recipe), "init": None if init is None else os.path.abspath(init)}  # noqa: PTH100
    with new_file(folder / RECORD) as path:
        path.write_text(json.dumps(record, indent=2) + "\n")


def initial_weights(folder: Path) -> str | None:
    """Return the file of the weights from which the run in `folder` was started, or None."""
    return json.loads((folder / RECORD).read_text()).get("init")


def resume_checkpoint(folder: Path, recipe: Recipe) -> Path | None:
    """Return the checkpoint from which the run in `folder` continues.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the run.
    recipe : Recipe
        Recipe of the run; `RESUMABLE_SETTINGS` may differ.

    Returns
    -------
    pathlib.Path or None
        None if the run was stopped before its first checkpoint.

    Raises
    ------
    PretrainingError
        If `folder` does not contain a run, the recipe is not that of the run, or the checkpoint is damaged.
    """
    if not (folder / RECORD).is_file():
        raise PretrainingError(f"{folder} contains no run to resume; start one without resume")
    before, now = json.loads((folder / RECORD).read_text()), _description(recipe)
    before, now = ({**record, **record["recipe"]} for record in (before, now))
    changed = sorted(key for key in now if key != "recipe" and before.get(key) != now[key])
    if changed:
        raise PretrainingError(
            f"{folder} was started with other values of {', '.join(changed)}; resume with the same recipe and options, "
            "or start a new run from its encoder with init"
        )
    checkpoint = latest_checkpoint(folder / "checkpoints")
    if checkpoint is not None:
        _check_readable(checkpoint)
    return checkpoint


def _description(recipe: Recipe) -> dict[str, Any]:
    """Return the plugin names and the settings that determine what a run learns."""
    return {
        **{kind: recipe.plugin(kind) for kind in PLUGINS},
        "recipe": {name: value for name, value in recipe.as_dict().items() if name not in RESUMABLE_SETTINGS},
    }


def _check_readable(checkpoint: Path) -> None:
    """Raise `PretrainingError` if a checkpoint (a zip archive with checksums) is damaged; nothing is unpacked."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError) as error:
        broken = str(error)
    if broken is not None:
        raise PretrainingError(f"{checkpoint} is damaged ({broken}); start a new run with overwrite")
