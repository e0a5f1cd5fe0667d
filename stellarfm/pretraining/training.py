"""The one entry to pretraining: plugins by name, a recipe, a folder."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger

from stellarfm.contracts import LabelledDataset
from stellarfm.encoders.weights import load_weights
from stellarfm.exceptions import PretrainingError
from stellarfm.output import check_output
from stellarfm.pretraining.callbacks.callbacks import Checkpoints, Progress, RunLog, Stop, tensorboard_logger
from stellarfm.pretraining.callbacks.collapse import Watch
from stellarfm.pretraining.callbacks.probe import Probe, Probing
from stellarfm.pretraining.callbacks.validation import HeldOut
from stellarfm.pretraining.collapse import Guard, Limits
from stellarfm.pretraining.data import Batches, derived_seed
from stellarfm.pretraining.distributed.devices import Devices
from stellarfm.pretraining.distributed.process import processes, settings
from stellarfm.pretraining.export import Export
from stellarfm.pretraining.lightning_module import PretrainingModule
from stellarfm.pretraining.plugins import encoder_options, make_dataset, make_encoder, make_method, plugin_names
from stellarfm.pretraining.recipe import Recipe
from stellarfm.pretraining.run_directory import begin, checkpoint_to_continue, own_directory

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
    """Train an encoder, without labels or, with a method that needs them, with labels.

    Whatever stops a run, it continues with ``resume=True`` from its last checkpoint, and on one device it ends with the
    very same weights as an undisturbed one. SIGTERM, SIGINT and `Recipe.max_hours` stop it after the step at hand, with
    a checkpoint. Several devices learn what one would learn, up to rounding, chance within the network (stochastic
    depth, dropout) and batch norm on CPUs; torchrun may start their processes, on several machines.

    Parameters
    ----------
    output : path-like
        The folder to be made: ``encoder.safetensors``, ``encoder.json``, ``README.md``, ``log.csv`` and
        ``checkpoints/``. All are there after the first checkpoint. With labels of which some are held out, also
        ``held_out.csv`` and ``predictions.csv``.
    encoder, dataset, method : str, optional
        Names of plugins, in place of those that the recipe names; their options are in the recipe.
    recipe : Recipe, optional
        See `stellarfm.pretraining.recipe.load_recipe`; default settings without it.
    init : path-like, optional
        Encoder weights (safetensors) to start from.
    resume : bool
        Continue the run in `output`.
    overwrite : bool
        Begin anew, in place of the run in `output`.
    devices : int, optional
        Number of GPUs, or of processes on a CPU: one by default, or what torchrun started.
    tensorboard : bool
        Also write the numbers of the log for TensorBoard, into ``tensorboard/``.
    probe : Probe, optional
        What to ask of the encoder every so many steps; its scores go to ``probe.csv`` and ``probe.png``.
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
    names = plugin_names(recipe, encoder=encoder, dataset=dataset, method=method)
    folder = Path(output)
    team = Devices.find(devices)
    _check_call(folder, resume=resume, overwrite=overwrite, team=team)
    checkpoint = checkpoint_to_continue(folder, names, recipe) if resume else None
    with settings(recipe):
        module = _module(names, recipe, init)
        start = str(init) if init is not None else None
        about = probe.about if probe else ""
        export = Export(folder, names, encoder_options(recipe), recipe, start, module.batches.label_names, about)
        if probe is not None and probe.check is not None:
            probe.check(module.exported)
        logger = tensorboard_logger(folder, checkpoint) if tensorboard else False
        trainer = _trainer(recipe, team, _callbacks(module, export, probe, progress=progress), logger)
        with own_directory(folder, resume=resume, overwrite=overwrite) if team.number == 0 else nullcontext():
            if not resume and team.number == 0:
                begin(folder, names, recipe)
            with processes(team):
                trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    return folder / "encoder.safetensors"


def _check_call(folder: Path, *, resume: bool, overwrite: bool, team: Devices) -> None:
    """Refuse early what cannot work."""
    if resume and overwrite:
        raise PretrainingError("a run is either continued or begun anew; give either --resume or --overwrite")
    if not resume and team.number == 0:
        check_output(folder, overwrite=overwrite)


def _module(names: dict[str, str], recipe: Recipe, init: str | os.PathLike | None) -> PretrainingModule:
    """Everything that learns, with weights made from the recipe's seed or read from `init`."""
    torch.manual_seed(derived_seed(recipe.seed))
    images = make_dataset(names, recipe)
    encoder = make_encoder(names, recipe)
    method = make_method(names, recipe)
    if init is not None:
        load_weights(encoder, init)
    batches = Batches(images, recipe, labelled=method.labelled)
    if method.labelled and isinstance(images, LabelledDataset):
        method.accept_labels(images.label_names)
    return PretrainingModule(method=method, encoder=encoder, recipe=recipe, batches=batches)


def _trainer(recipe: Recipe, team: Devices, callbacks: list[Callback], logger: Logger | bool) -> Trainer:
    """Lightning's loop, without any habit of its own."""
    team.check_batch(recipe.batch_size)
    return Trainer(
        max_steps=recipe.steps,
        accelerator="auto",
        devices=team.local,
        num_nodes=team.nodes,
        strategy=team.strategy(recipe.strategy),
        sync_batchnorm=team.total > 1 and torch.cuda.is_available(),
        precision=recipe.precision,  # type: ignore[arg-type]
        callbacks=callbacks,
        logger=logger,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _callbacks(module: PretrainingModule, export: Export, probe: Probe | None, *, progress: bool) -> list[Callback]:
    """What happens beside the steps; the order is that of the calls."""
    recipe, folder = export.recipe, export.folder
    watch = Watch(_guard(module), folder / "checkpoints", every=recipe.log_steps)
    return [
        Stop(max_hours=recipe.max_hours),
        RunLog(folder / "log.csv", every=recipe.log_steps, images=recipe.batch_size),
        watch,
        *([Probing(probe, folder, batch_size=recipe.batch_size)] if probe is not None else []),
        *_held_out(module, folder),
        Checkpoints(
            folder / "checkpoints",
            every=recipe.checkpoint_steps,
            minutes=recipe.checkpoint_minutes,
            export=export,
            watch=watch,
        ),
        *([Progress(images=recipe.batch_size)] if progress else []),
    ]


def _held_out(module: PretrainingModule, folder: Path) -> list[Callback]:
    """The judgement of a method that learns from labels, where some are held out."""
    images = module.batches.held_out()
    return [HeldOut(images, folder, every=module.recipe.checkpoint_steps)] if images is not None else []


def _guard(module: PretrainingModule) -> Guard:
    """The guard of a run; it knows ln K where the method has prototypes."""
    recipe = module.recipe
    return Guard(
        Limits.from_table(recipe.monitors),
        steps=recipe.steps,
        warmup_steps=recipe.warmup_steps,
        images=recipe.batch_size,
        prototypes=getattr(module.method, "prototypes", None),
    )
