"""Actions of the sub-commands; each function has the name of its sub-command."""

from __future__ import annotations

import argparse
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from stellarfm.cli.common import say
from stellarfm.output import check_output, new_directory, new_file
from stellarfm_galaxyzoo.catalogue import FORMATS, Catalogue
from stellarfm_galaxyzoo.exceptions import CatalogueError

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["evaluate", "finetune", "predict", "recipe", "simulate"]

#: Largest number of columns of a FITS table.
FITS_COLUMNS = 999
ENDINGS = {**FORMATS, ".ecsv": "ascii.ecsv"}


def finetune(args: argparse.Namespace) -> None:
    """Fit a model for each budget and seed."""
    from stellarfm_galaxyzoo.finetuning import Tuning, draw_labels
    from stellarfm_galaxyzoo.finetuning import finetune as fit_model
    from stellarfm_galaxyzoo.model import FileImages, ImageOptions
    from stellarfm_galaxyzoo.schema import Schema

    scales = None if args.scales is None else tuple(args.scales)
    options = ImageOptions(size=args.size, channels=args.channels, scales=scales)
    tuning = Tuning(layers=_layers(args.layers), steps=args.steps, learning_rate=args.learning_rate)
    schema = Schema.load(*args.schema)
    catalogue = Catalogue.read(args.catalogue, schema, root=args.root).require_images()
    budgets = args.labels or [None]
    several = len(budgets) * len(args.seed) > 1
    for labels in budgets:
        for seed in args.seed:
            path = args.output / f"labels-{labels or 'all'}-seed-{seed}" if several else args.output
            check_output(path, overwrite=args.overwrite)
            draw_labels(catalogue.votes, labels, seed=seed)
            model = fit_model(
                FileImages(catalogue.paths, options),
                catalogue.votes,
                schema,
                encoder=args.encoder,
                options=options,
                head=args.head,
                tuning=tuning,
                labels=labels,
                seed=seed,
            )
            model.save(path, overwrite=args.overwrite)
            say(f"wrote {path}: {model.training['labels']} galaxies with votes", args)


def predict(args: argparse.Namespace) -> None:
    """Write a table of predictions."""
    from stellarfm_galaxyzoo.model import GalaxyModel
    from stellarfm_galaxyzoo.predictions import prediction_table

    if not 0 < args.level < 1:
        raise CatalogueError(f"level is {args.level}; expected a probability between 0 and 1, e.g. 0.9")
    _check_table(args.output, overwrite=args.overwrite)
    model = GalaxyModel.load(args.model)
    catalogue = Catalogue.read(args.catalogue, model.schema, root=args.root).require_images()
    table = prediction_table(
        catalogue.ids,
        model.concentrations_of_files(catalogue.paths),
        model.schema,
        level=args.level,
        with_concentrations=args.concentrations,
    )
    _write(table, args.output, overwrite=args.overwrite)
    say(f"wrote {args.output}: {len(table)} galaxies, {len(model.schema.questions)} questions", args)


def evaluate(args: argparse.Namespace) -> None:
    """Print or write the scores per question."""
    from astropy.table import vstack

    from stellarfm_galaxyzoo.evaluation import evaluate as score
    from stellarfm_galaxyzoo.model import GalaxyModel

    if args.output is not None:
        _check_table(args.output, overwrite=args.overwrite)
    tables = []
    for path in args.model:
        model = GalaxyModel.load(path)
        catalogue = Catalogue.read(args.catalogue, model.schema, root=args.root)
        if not catalogue.labelled.any():
            raise CatalogueError(f"{args.catalogue} has no votes on the questions of {path}; check the vote columns")
        voted = catalogue[catalogue.labelled].require_images()
        table = score(model.concentrations_of_files(voted.paths), voted.votes, model.schema)
        table.add_column([str(path)] * len(table), name="model", index=0)
        tables.append(table)
    scores = vstack(tables)
    if args.output is None:
        sys.stdout.write("\n".join(scores.pformat(max_lines=-1, max_width=-1)) + "\n")
    else:
        _write(scores, args.output, overwrite=args.overwrite)
        say(f"wrote {args.output}", args)


def simulate(args: argparse.Namespace) -> None:
    """Write a synthetic survey."""
    from stellarfm_galaxyzoo.synthetic_survey import SyntheticSurvey

    check_output(args.output, overwrite=args.overwrite)
    survey = SyntheticSurvey(
        size=args.size, seed=args.seed, count=args.count, schema=args.schema, labelled=args.labelled
    )
    with new_directory(args.output, overwrite=args.overwrite) as folder:
        survey.write(folder)
    say(f"wrote {args.output / 'catalogue.csv'}: {len(survey)} galaxies", args)


def recipe(args: argparse.Namespace) -> None:
    """Print a recipe."""
    sys.stdout.write((resources.files("stellarfm_galaxyzoo") / "recipes" / f"{args.arm}.toml").read_text("utf-8"))


def _layers(word: str) -> int | None:
    """Return the number of layers, or None for all."""
    if word == "all":
        return None
    if not word.isdigit():
        raise CatalogueError(f"layers is {word!r}; expected a number of layers, or 'all'")
    return int(word)


def _check_table(path: Path, *, overwrite: bool) -> None:
    """Raise an error if a table cannot be written to `path`."""
    check_output(path, overwrite=overwrite)
    if path.suffix.lower() not in ENDINGS:
        raise CatalogueError(f"{path}: unknown suffix; expected one of {', '.join(ENDINGS)}")


def _write(table: QTable, path: Path, *, overwrite: bool) -> None:
    """Write a table in the format of the suffix of `path`."""
    kind = ENDINGS[path.suffix.lower()]
    if kind == "fits" and len(table.colnames) > FITS_COLUMNS:
        raise CatalogueError(
            f"{path}: {len(table.colnames)} columns; a FITS table has at most {FITS_COLUMNS}: choose .parquet or .ecsv"
        )
    with new_file(path, overwrite=overwrite) as temporary:
        table.write(temporary, format=kind)
