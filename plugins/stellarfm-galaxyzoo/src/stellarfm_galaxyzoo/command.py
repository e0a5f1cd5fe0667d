"""The command ``stellarfm galaxyzoo``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from stellarfm.contracts import Command

__all__ = ["GalaxyZooCommand"]

ARMS = ("direct", "pretrained", "contrastive", "hybrid")
CAMPAIGNS = ("dr12", "dr5", "dr8", "gz2", "hubble", "candels")


class GalaxyZooCommand(Command):
    """Command with the sub-commands finetune, predict, evaluate, simulate and recipe."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the sub-commands."""
        parser.description = (
            "Galaxy morphology from volunteers' votes. Encoders come from `stellarfm pretrain --method byol-hybrid`."
        )
        verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="verb")
        for add in (_add_finetune, _add_predict, _add_evaluate, _add_simulate, _add_recipe):
            add(verbs)

    def run(self, args: argparse.Namespace) -> None:
        """Run the sub-command."""
        from stellarfm_galaxyzoo import command_actions

        action: Callable[[argparse.Namespace], None] = getattr(command_actions, args.verb)
        action(args)


def _add_finetune(verbs: argparse._SubParsersAction) -> None:
    p = verbs.add_parser(
        "finetune",
        help="fit a model to galaxies with votes",
        description="Fit a model to galaxies with votes, with a frozen or fine-tuned encoder; one per budget and seed.",
    )
    _add_catalogue(p)
    p.add_argument(
        "--encoder", required=True, help="folder of a pretraining run, weight file, or name (random weights)"
    )
    p.add_argument("--schema", nargs="+", default=list(CAMPAIGNS), help="campaigns or TOML files (default: all six)")
    p.add_argument("--size", type=int, default=64, help="side of the images in pixels (default: 64)")
    p.add_argument("--channels", type=int, default=3, help="number of channels (default: 3)")
    p.add_argument("--scales", type=float, nargs="+", help="flux of each FITS band that becomes white")
    p.add_argument("--head", choices=("linear", "knn"), default="linear", help="head on the features (default: linear)")
    p.add_argument("--layers", default="0", help="number of last layers of the encoder to train, or all (default: 0)")
    p.add_argument("--steps", type=int, default=300, help="steps of fine-tuning (default: 300)")
    p.add_argument("--learning-rate", type=float, default=3e-4, help="learning rate of fine-tuning (default: 3e-4)")
    p.add_argument("--labels", type=int, nargs="+", help="label budgets, in galaxies with votes (default: all)")
    p.add_argument("--seed", type=int, nargs="+", default=[0], help="seeds of draws, folds and tuning (default: 0)")
    _add_output(p, "model directory; for several models, a folder of directories labels-N-seed-S")


def _add_predict(verbs: argparse._SubParsersAction) -> None:
    p = verbs.add_parser(
        "predict",
        help="predict the votes on the galaxies of a catalogue",
        description="Write expected vote fractions, credible intervals and tree probabilities, one row per galaxy.",
    )
    _add_catalogue(p)
    p.add_argument("--model", type=Path, required=True, help="model directory")
    p.add_argument("--level", type=float, default=0.9, help="probability of the credible intervals (default: 0.9)")
    p.add_argument("--concentrations", action="store_true", help="add the Dirichlet concentrations")
    _add_output(p, "table; the suffix selects the format: .fits, .ecsv, .csv, .parquet, .vot")


def _add_evaluate(verbs: argparse._SubParsersAction) -> None:
    p = verbs.add_parser(
        "evaluate",
        help="compare the predictions of models with votes",
        description="Print loss, error, accuracy and coverage of models per question, on galaxies with votes.",
    )
    _add_catalogue(p)
    p.add_argument("--model", type=Path, nargs="+", required=True, help="model directories")
    _add_output(p, "table (default: print it)", required=False)


def _add_simulate(verbs: argparse._SubParsersAction) -> None:
    p = verbs.add_parser(
        "simulate",
        help="write a synthetic survey: images and a catalogue with votes",
        description="Write galaxies from parametric profiles with simulated volunteers: PNG files and catalogue.csv.",
    )
    p.add_argument("--count", type=int, default=1000, help="number of galaxies (default: 1000)")
    p.add_argument("--size", type=int, default=64, help="side of the images in pixels (default: 64)")
    p.add_argument("--seed", type=int, default=0, help="seed of the survey (default: 0)")
    p.add_argument("--schema", nargs="+", default=["dr12", "dr5", "gz2"], help="campaigns (default: dr12 dr5 gz2)")
    p.add_argument("--labelled", type=float, default=0.5, help="fraction of galaxies with votes (default: 0.5)")
    _add_output(p, "folder to create")


def _add_recipe(verbs: argparse._SubParsersAction) -> None:
    p = verbs.add_parser(
        "recipe",
        help="print a recipe for `stellarfm pretrain`",
        description="Print the recipe of one of the four arms, for `stellarfm pretrain --config FILE`.",
    )
    p.add_argument("arm", choices=ARMS, help="arm of the experiment")


def _add_catalogue(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("catalogue", type=Path, help="any table that astropy reads, with id_str, file_loc and votes")
    parser.add_argument("--root", type=Path, help="folder of the images (default: that of the catalogue)")


def _add_output(parser: argparse.ArgumentParser, what: str, *, required: bool = True) -> None:
    from stellarfm.cli.common import add_output_options

    add_output_options(parser, what=what, required=required)
