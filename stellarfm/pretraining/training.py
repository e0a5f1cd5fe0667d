"""Entry point of pretraining: builds a run from a recipe and trains it with Lightning."""

from __future__ import annotations

import os
import signal
from contextlib import nullcontext
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger

from stellarfm.contracts import LabelledDataset
from stellarfm.encoders.weights import bundled_weights, load_weights
from stellarfm.exceptions import PretrainingError
from stellarfm.output import check_output
from stellarfm.pretraining.callbacks.checkpoints import Checkpoints, GracefulStop, export_from_checkpoint
from stellarfm.pretraining.callbacks.collapse import CollapseCallback
from stellarfm.pretraining.callbacks.logging import CSVLog, Progress, tensorboard_logger
from stellarfm.pretraining.callbacks.probe import Probe, ProbeCallback
from stellarfm.pretraining.callbacks.validation import ValidationCallback
from stellarfm.pretraining.collapse import CollapseDetector, CollapseLimits
from stellarfm.pretraining.data import Batches, derived_seed
from stellarfm.pretraining.distributed.devices import Devices
from stellarfm.pretraining.distributed.process import run_settings, spawned_processes
from stellarfm.pretraining.export import Export
from stellarfm.pretraining.lightning_module import PretrainingModule
from stellarfm.pretraining.recipe import Recipe, make_dataset, make_encoder, make_method
from stellarfm.pretraining.run_directory import initial_weights, own_directory, resume_checkpoint, start_run

__all__ = ["pretrain"]


def pretrain(
    *,
    output: str | os.PathLike,
    encoder: str | None = None,
    dataset: str | None = None,
    method: str | None = None,
    recipe: Recipe | None = None,
    init: str | os.PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    devices: int | None = None,
    tensorboard: bool = False,
    probe: Probe | None = None,
    progress: bool = True,
) -> Path:
    """Train an encoder without labels, or with labels if the method needs them.

    A run that was interrupted at any time continues from its last checkpoint with ``resume=True``; on one device its
    final weights are identical to those of an uninterrupted run. SIGTERM, SIGINT and `Recipe.max_hours` stop it after
    the current step, with a checkpoint and an encoder. Several devices learn what one device would learn from the same
    batch, except for rounding, random operations within the network (stochastic depth, dropout) and batch norm on
    CPUs. Their processes may also be started by torchrun, on several machines.

    Parameters
    ----------
    output : path-like
        Folder to create, with ``encoder.safetensors``, ``encoder.json``, ``README.md``, ``log.csv`` and
        ``checkpoints/``. All exist after the first checkpoint. If the dataset holds out labelled images, also with
        ``held_out.csv`` and ``predictions.csv``.
    encoder, dataset, method : str, optional
        Names of plugins, which replace those of the recipe; their options are in the recipe.
    recipe : Recipe, optional
        Settings; see `stellarfm.pretraining.load_recipe`.
    init : path-like, optional
        Encoder weights (safetensors) to start from, or ``"bundled"`` for those of the bundled model. A resumed run
        starts from the weights it was started from, whatever `init` is.
    resume : bool
        Continue the run in `output`, from step 0 if it has no checkpoint yet.
    overwrite : bool
        Replace the run in `output`.
    devices : int, optional
        Number of GPUs, or of processes on a CPU; by default one, or those that torchrun started.
    tensorboard : bool
        Also write the log for TensorBoard, into ``tensorboard/``.
    probe : Probe, optional
        Evaluation of the encoder every N steps; its scores are written to ``probe.csv`` and ``probe.png``.
    progress : bool
        Show a progress bar if the standard error stream is a terminal.

    Returns
    -------
    pathlib.Path
        Path of ``encoder.safetensors`` in `output`. After `Recipe.max_hours` its number of steps, recorded in
        ``encoder.json``, is smaller than that of the recipe.

    Raises
    ------
    KeyboardInterrupt
        If SIGINT stopped the run early; checkpoint and encoder are written before.
    SystemExit
        If SIGTERM stopped the run early, with exit code 143; checkpoint and encoder are written before.
    PluginError
        If a plugin is unknown or does not have an option.
    InputNotFoundError, ModelError
        If `init` does not exist or does not fit the encoder.
    OutputExistsError
        If `output` exists, without `resume` or `overwrite`.
    PretrainingError
        If options do not fit, there is no run to resume, the recipe is not that of the run, or the run collapses.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from stellarfm.pretraining import Recipe, pretrain
    >>> small = {"prototypes": 8, "hidden": 8, "bottleneck": 4, "global_size": 16, "local_size": 8, "local_crops": 1}
    >>> recipe = Recipe(steps=1, batch_size=4, size=16, warmup_steps=0, workers=0, precision="32-true", method=small)
    >>> with TemporaryDirectory() as folder:
    ...     path = pretrain(encoder="dinov2-vit-nano8", dataset="ifs", recipe=recipe, output=Path(folder) / "run")
    ...     sorted(entry.name for entry in path.parent.iterdir())
    ['.stellarfm.json', 'README.md', 'checkpoints', 'encoder.json', 'encoder.safetensors', 'log.csv', 'run.json']
    """
    recipe = (recipe or Recipe()).with_plugins(encoder=encoder, dataset=dataset, method=method)
    folder, processes = Path(output), Devices.from_environment(devices)
    if resume and overwrite:
        raise PretrainingError("resume and overwrite are mutually exclusive; set one of them")
    if not resume and processes.rank == 0:
        check_output(folder, overwrite=overwrite)
    checkpoint = resume_checkpoint(folder, recipe) if resume else None
    weights = initial_weights(folder) if resume else bundled_weights() if init == "bundled" else init
    with run_settings(recipe):
        module = _build_module(recipe, weights if checkpoint is None else None)
        about = probe.about if probe else ""
        start = None if weights is None else str(weights)
        export = Export(folder, recipe, init=start, labels=module.batches.label_names, probe=about)
        if probe is not None and probe.check is not None:
            probe.check(module.exported)
        step = int(checkpoint.stem.removeprefix("step-")) if checkpoint is not None else 0
        if step >= recipe.steps and checkpoint is not None:
            if processes.rank == 0 and export.exported_steps() != step:
                export_from_checkpoint(checkpoint, module, export, step=step)
            return folder / "encoder.safetensors"
        logger = tensorboard_logger(folder, first_step=step + 1 if step else 0) if tensorboard else False
        stop = GracefulStop(max_hours=recipe.max_hours)
        callbacks = [stop, *_callbacks(module, export, probe, progress=progress)]
        trainer = _trainer(recipe, processes, callbacks, logger)
        with own_directory(folder, resume=resume, overwrite=overwrite) if processes.rank == 0 else nullcontext():
            if not resume and processes.rank == 0:
                start_run(folder, recipe, init=weights)
            with spawned_processes(processes) as received:
                trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    reason = next(iter(received), stop.received)
    if reason is not None and export.exported_steps() != recipe.steps:
        raise KeyboardInterrupt if reason == signal.SIGINT else SystemExit(128 + reason)
    return folder / "encoder.safetensors"


def _build_module(recipe: Recipe, weights: str | os.PathLike | None) -> PretrainingModule:
    """Build dataset, encoder and method, with initial weights drawn with the recipe's seed or read from a file."""
    torch.manual_seed(derived_seed(recipe.seed))
    images = make_dataset(recipe)
    encoder = make_encoder(recipe)
    method = make_method(recipe)
    if weights is not None:
        load_weights(encoder, weights)
    batches = Batches(images, recipe, labelled=method.labelled)
    if method.labelled and isinstance(images, LabelledDataset):
        method.accept_labels(images.label_names)
    return PretrainingModule(method=method, encoder=encoder, recipe=recipe, batches=batches)


def _trainer(recipe: Recipe, processes: Devices, callbacks: list[Callback], logger: Logger | bool) -> Trainer:
    """Return Lightning's training loop with all of its default callbacks switched off."""
    processes.check_batch(recipe.batch_size)
    return Trainer(
        max_steps=recipe.steps,
        accelerator="auto",
        devices=processes.local,
        num_nodes=processes.nodes,
        strategy=processes.strategy(recipe.strategy),
        sync_batchnorm=processes.world_size > 1 and torch.cuda.is_available(),
        precision=recipe.precision,  # type: ignore[arg-type]
        callbacks=callbacks,
        logger=logger,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _callbacks(module: PretrainingModule, export: Export, probe: Probe | None, *, progress: bool) -> list[Callback]:
    """Return the callbacks of a run in the order of their calls."""
    recipe, folder = export.recipe, export.folder
    detector = CollapseDetector(
        CollapseLimits.from_table(recipe.monitors),
        steps=recipe.steps,
        warmup_steps=recipe.warmup_steps,
        images=recipe.batch_size,
        prototypes=getattr(module.method, "prototypes", None),
    )
    collapse = CollapseCallback(detector, folder / "checkpoints", every=recipe.log_steps)
    callbacks: list[Callback] = [
        CSVLog(folder / "log.csv", every=recipe.log_steps, batch_size=recipe.batch_size),
        collapse,
    ]
    if probe is not None:
        callbacks.append(ProbeCallback(probe, folder, batch_size=recipe.batch_size))
    if (held_out := module.batches.held_out()) is not None:
        callbacks.append(ValidationCallback(held_out, folder, every=recipe.checkpoint_steps))
    callbacks.append(
        Checkpoints(
            folder / "checkpoints",
            every=recipe.checkpoint_steps,
            minutes=recipe.checkpoint_minutes,
            export=export,
            collapse=collapse,
        )
    )
    return [*callbacks, Progress(batch_size=recipe.batch_size)] if progress else callbacks
