"""The one entry to pretraining: plugins by name, a recipe, a folder."""

from __future__ import annotations

import json
import logging
import os
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from stellarfm import registry
from stellarfm.encoders.weights import load_weights
from stellarfm.exceptions import PretrainingError
from stellarfm.output import check_output, new_file
from stellarfm.pretraining.callbacks import Checkpoints, Progress, RunLog, Stop, last_checkpoint
from stellarfm.pretraining.data import derived_seed, image_loader
from stellarfm.pretraining.export import Export
from stellarfm.pretraining.guard import Guard, Limits
from stellarfm.pretraining.module import PretrainingModule
from stellarfm.pretraining.recipe import Recipe
from stellarfm.pretraining.watch import Watch

__all__ = ["pretrain"]

log = logging.getLogger("stellarfm")

#: Settings that may change when a run continues: they do not change what is learnt.
FREE = frozenset({"workers", "torch_threads", "checkpoint_steps", "log_steps", "max_hours", "monitors"})


def pretrain(
    *,
    encoder: str,
    dataset: str,
    method: str,
    output: str | os.PathLike,
    recipe: Recipe | None = None,
    init: str | os.PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    devices: int = 1,
    progress: bool = True,
) -> Path:
    """Train an encoder without labels.

    Whatever stops a run, it continues with ``resume=True`` from its last checkpoint, and on one device it ends with the
    very same weights as an undisturbed one. SIGTERM, SIGINT and `Recipe.max_hours` stop it after the step at hand, with
    a checkpoint.

    Parameters
    ----------
    encoder, dataset, method : str
        Names of plugins; their options are in the recipe.
    output : path-like
        The folder to be made: ``encoder.safetensors``, ``encoder.json``, ``README.md``, ``log.csv`` and
        ``checkpoints/``. All are there after the first checkpoint.
    recipe : Recipe, optional
        See `stellarfm.pretraining.recipe.load_recipe`; default settings without it.
    init : path-like, optional
        Encoder weights (safetensors) to start from.
    resume : bool
        Continue the run in `output`.
    overwrite : bool
        Begin anew, in place of the run in `output`.
    devices : int
        Number of GPUs, or of processes on a CPU.
    progress : bool
        Show a progress bar, on a terminal only.

    Returns
    -------
    pathlib.Path
        ``encoder.safetensors`` in `output`.

    Raises
    ------
    PluginError
        If a plugin is unknown or has no such option.
    InputNotFoundError, ModelError
        If `init` is missing or does not fit the encoder.
    OutputExistsError
        If `output` exists, without `resume` or `overwrite`.
    PretrainingError
        If options do not fit, there is nothing to resume, the recipe is another than the run's, or the run collapses.
    """
    recipe = recipe or Recipe()
    plugins = {"encoder": encoder, "dataset": dataset, "method": method}
    folder = Path(output)
    _check_call(folder, resume=resume, overwrite=overwrite, devices=devices)
    checkpoint = _continue(folder, plugins, recipe) if resume else None
    with _settings(recipe):
        module = _module(plugins, recipe, init)
        if not resume:
            _begin(folder, plugins, recipe)
        options = {"image_size": recipe.size, **recipe.encoder}
        export = Export(folder, plugins, options, recipe, str(init) if init is not None else None)
        _fit(module, export, checkpoint, devices=devices, progress=progress)
    return folder / "encoder.safetensors"


def _check_call(folder: Path, *, resume: bool, overwrite: bool, devices: int) -> None:
    """Refuse early what cannot work."""
    if resume and overwrite:
        raise PretrainingError("a run is either continued or begun anew; give either --resume or --overwrite")
    if devices < 1:
        raise PretrainingError(f"devices is {devices}; expected at least 1")
    if not resume:
        check_output(folder, overwrite=overwrite)


def _module(plugins: dict[str, str], recipe: Recipe, init: str | os.PathLike | None) -> PretrainingModule:
    """Everything that learns, with weights made from the recipe's seed or read from `init`."""
    torch.manual_seed(derived_seed(recipe.seed))
    images = registry.create("datasets", plugins["dataset"], **{"size": recipe.size, **recipe.dataset})
    encoder = registry.create("encoders", plugins["encoder"], **{"image_size": recipe.size, **recipe.encoder})
    method = registry.create("methods", plugins["method"], **recipe.method)
    if init is not None:
        load_weights(encoder, init)
    return PretrainingModule(
        method=method, encoder=encoder, recipe=recipe, make_loader=partial(_loader, images, recipe)
    )


def _loader(images: Any, recipe: Recipe, first: int, share: tuple[int, int]) -> Any:
    """Batches of the steps from `first` on."""
    return image_loader(
        images,
        seed=recipe.seed,
        batch_size=recipe.batch_size,
        steps=(first, recipe.steps),
        workers=recipe.workers,
        share=share,
    )


def _fit(module: PretrainingModule, export: Export, checkpoint: Path | None, *, devices: int, progress: bool) -> None:
    """Run Lightning's loop with our callbacks."""
    recipe = export.recipe
    stop = Stop(max_hours=recipe.max_hours)
    checkpoints = export.folder / "checkpoints"
    watch = Watch(_guard(module, images=recipe.batch_size // devices), checkpoints, every=recipe.log_steps)
    callbacks = [
        stop,
        RunLog(export.folder / "log.csv", every=recipe.log_steps, images=recipe.batch_size),
        watch,
        Checkpoints(checkpoints, every=recipe.checkpoint_steps, export=export, watch=watch),
        *([Progress(images=recipe.batch_size)] if progress else []),
    ]
    trainer = Trainer(
        max_steps=recipe.steps,
        accelerator="auto",
        devices=devices,
        strategy="ddp_spawn_find_unused_parameters_true" if devices > 1 else "auto",
        precision=recipe.precision,  # type: ignore[arg-type]
        callbacks=callbacks,
        default_root_dir=export.folder,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    try:
        trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    finally:
        stop.restore()
    if stop.reason is not None:
        log.warning(
            "stopped by %s at step %d of %d; --resume continues", stop.reason, trainer.global_step, recipe.steps
        )


def _guard(module: PretrainingModule, *, images: int) -> Guard:
    """The guard of a run with so many images a device; it knows ln K where the method has prototypes."""
    recipe = module.recipe
    return Guard(
        Limits.from_table(recipe.monitors),
        steps=recipe.steps,
        warmup_steps=recipe.warmup_steps,
        images=images,
        prototypes=getattr(module.method, "prototypes", None),
    )


def _description(plugins: dict[str, str], recipe: Recipe) -> dict[str, Any]:
    """What decides what a run learns."""
    return {**plugins, "recipe": {name: value for name, value in recipe.as_dict().items() if name not in FREE}}


def _begin(folder: Path, plugins: dict[str, str], recipe: Recipe) -> None:
    """Make the folder of a new run, in place of an old one."""
    if folder.exists():
        shutil.rmtree(folder)
    with new_file(folder / "run.json") as path:
        path.write_text(json.dumps(_description(plugins, recipe), indent=2) + "\n")


def _continue(folder: Path, plugins: dict[str, str], recipe: Recipe) -> Path:
    """The checkpoint from which the run in `folder` continues; checks that it is the same run."""
    checkpoint = last_checkpoint(folder / "checkpoints")
    if checkpoint is None or not (folder / "run.json").is_file():
        raise PretrainingError(f"{folder} holds no checkpoint to resume; start without --resume")
    before, now = json.loads((folder / "run.json").read_text()), _description(plugins, recipe)
    before, now = ({**record, **record["recipe"]} for record in (before, now))
    changed = sorted(key for key in now if key != "recipe" and before.get(key) != now[key])
    if changed:
        raise PretrainingError(
            f"{folder} was begun with another {', '.join(changed)}; resume with the same recipe and options, "
            "or start anew with --init"
        )
    _check_readable(checkpoint)
    return checkpoint


def _check_readable(checkpoint: Path) -> None:
    """Raise `PretrainingError` if a checkpoint (a zip archive with check sums) is damaged; nothing is unpacked."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError) as error:
        broken = str(error)
    if broken is not None:
        raise PretrainingError(f"{checkpoint} is damaged ({broken}); start anew with --overwrite")


@contextmanager
def _settings(recipe: Recipe) -> Iterator[None]:
    """Torch's threads and random state, and Lightning's voice, for the time of a run only."""
    threads = torch.get_num_threads()
    voices = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [voice.level for voice in voices]
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        for voice in voices:
            voice.setLevel(logging.ERROR)
        torch.set_num_threads(recipe.torch_threads or threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            for voice, level in zip(voices, levels, strict=True):
                voice.setLevel(level)
