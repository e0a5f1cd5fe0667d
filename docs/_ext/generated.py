"""Directives for pages that are generated from the program itself, so that they stay correct."""

import argparse
import tomllib
from pathlib import Path

from docutils import nodes
from fidelity import fidelity_table
from sphinx.util.docutils import SphinxDirective

from stellarfm.cli.main import build_parser
from stellarfm.inference.masses.flags import flag_table
from stellarfm.pretraining.cost import HARDWARE, cost_of
from stellarfm.pretraining.recipe import load_recipe, recipe_names


class Commands(SphinxDirective):
    """One section per sub-command, with the output of ``--help``."""

    def run(self):
        parser = build_parser()
        actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        return [nodes.literal_block(text=parser.format_help(), language="text")] + [
            section(f"stellarfm {name}", command.format_help())
            for action in actions
            for name, command in action.choices.items()
        ]


class PretrainingCosts(SphinxDirective):
    """Cost of each built-in recipe, on one H200 or, if that takes less than a minute, on one core."""

    def run(self):
        head = ("recipe", "FLOP per image-step", "image-steps", "FLOP", "device", "hours", "kWh")
        lines = [f"   * - {row[0]}\n" + "\n".join(f"     - {cell}" for cell in row[1:]) for row in (head, *cost_rows())]
        return self.parse_text_to_nodes("\n".join([".. list-table::", "   :header-rows: 1", "", *lines]))


def cost_rows():
    """Yield the cells of the row of each recipe."""
    for name in recipe_names():
        cost = cost_of(load_recipe(name))
        device = "h200" if cost.hours(HARDWARE["h200"]) > 1 / 60 else "cpu-core"
        spent = cost.hours(HARDWARE[device]), cost.energy(HARDWARE[device])
        numbers = (f"{cost.flops:.3g}", f"{cost.images:,}", f"{cost.total:.3g}")
        yield f"`{name}`", *numbers, device, *(f"{value:.3g}" for value in spent)


class PretrainingFidelity(SphinxDirective):
    """Table of the values of DINOv2 and of the recipes, with the reasons for differences."""

    def run(self):
        return self.parse_text_to_nodes(fidelity_table())


class ChangeFragments(SphinxDirective):
    """The fragments of ``docs/changes`` by type, as towncrier will collect them."""

    def run(self):
        folder = Path(self.env.srcdir) / "changes"
        project = tomllib.loads((Path(self.env.srcdir).parent / "pyproject.toml").read_text(encoding="utf-8"))
        nodes_ = []
        for kind in project["tool"]["towncrier"]["type"]:
            paths = sorted(folder.glob(f"*.{kind['directory']}.rst"))
            if paths:
                items = ["- " + "\n  ".join(path.read_text(encoding="utf-8").split("\n")).rstrip() for path in paths]
                nodes_ += self.parse_text_to_nodes("\n".join([f".. rubric:: {kind['name']}", "", *items]))
        return nodes_ or self.parse_text_to_nodes("No changes.")


class MassFlags(SphinxDirective):
    """Table of the quality flags of a mass."""

    def run(self):
        return self.parse_text_to_nodes(flag_table())


def section(title, text):
    """Return a titled section with a block of plain text."""
    node = nodes.section("", nodes.title(text=title), nodes.literal_block(text=text, language="text"))
    node["ids"] = [nodes.make_id(title)]
    node["names"] = [nodes.fully_normalize_name(title)]
    return node


def setup(app):
    app.add_directive("change-fragments", ChangeFragments)
    app.add_directive("commands", Commands)
    app.add_directive("mass-flags", MassFlags)
    app.add_directive("pretraining-costs", PretrainingCosts)
    app.add_directive("pretraining-fidelity", PretrainingFidelity)
    return {"parallel_read_safe": True}
