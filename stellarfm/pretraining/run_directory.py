"""The folder of a run: begun, or found fit to continue."""

from __future__ import annotations

import json
import zipfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from stellarfm.exceptions import PretrainingError
from stellarfm.output import new_file, run_directory
from stellarfm.pretraining.recipe import Recipe

__all__ = ["FILES", "FREE", "begin", "checkpoint_to_continue", "last_checkpoint", "own_directory"]

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
#: Settings that may change when a run continues: they do not change what is learnt.
FREE = frozenset(
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


def last_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the latest step in `folder`, or None."""
    return max(folder.glob("step-*.ckpt"), default=None)


def own_directory(folder: Path, *, resume: bool, overwrite: bool) -> AbstractContextManager[Path]:
    """Lock the folder of a run and create it unless resumed; a replaced run is kept until there is a checkpoint."""
    return run_directory(
        folder,
        patterns=FILES,
        usable=lambda path: last_checkpoint(path / "checkpoints") is not None,
        overwrite=overwrite,
        resume=resume,
    )


def begin(folder: Path, plugins: dict[str, str], recipe: Recipe) -> None:
    """Write the record of a new run into its folder, which exists."""
    with new_file(folder / RECORD) as path:
        path.write_text(json.dumps(_description(plugins, recipe), indent=2) + "\n")


def checkpoint_to_continue(folder: Path, plugins: dict[str, str], recipe: Recipe) -> Path:
    """The checkpoint from which the run in `folder` continues; raises `PretrainingError` unless it is the same run."""
    checkpoint = last_checkpoint(folder / "checkpoints")
    if checkpoint is None or not (folder / RECORD).is_file():
        raise PretrainingError(f"{folder} holds no checkpoint to resume; start without --resume")
    before, now = json.loads((folder / RECORD).read_text()), _description(plugins, recipe)
    before, now = ({**record, **record["recipe"]} for record in (before, now))
    changed = sorted(key for key in now if key != "recipe" and before.get(key) != now[key])
    if changed:
        raise PretrainingError(
            f"{folder} was begun with another {', '.join(changed)}; resume with the same recipe and options, "
            "or start anew with --init"
        )
    _check_readable(checkpoint)
    return checkpoint


def _description(plugins: dict[str, str], recipe: Recipe) -> dict[str, Any]:
    """What decides what a run learns."""
    return {**plugins, "recipe": {name: value for name, value in recipe.as_dict().items() if name not in FREE}}


def _check_readable(checkpoint: Path) -> None:
    """Raise `PretrainingError` if a checkpoint (a zip archive with check sums) is damaged; nothing is unpacked."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError) as error:
        broken = str(error)
    if broken is not None:
        raise PretrainingError(f"{checkpoint} is damaged ({broken}); start anew with --overwrite")
