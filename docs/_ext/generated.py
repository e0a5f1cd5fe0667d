"""Pages that are made from the program itself, so that they cannot rot."""

import argparse

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from stellarfm.cli.main import build_parser
from stellarfm.inference.flags import flag_table


class Commands(SphinxDirective):
    """One section for each sub-command, holding what ``--help`` prints."""

    def run(self):
        parser = build_parser()
        actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        return [nodes.literal_block(text=parser.format_help(), language="text")] + [
            section(f"stellarfm {name}", command.format_help())
            for action in actions
            for name, command in action.choices.items()
        ]


class MassFlags(SphinxDirective):
    """The table of the quality flags of a mass."""

    def run(self):
        return self.parse_text_to_nodes(flag_table())


def section(title, text):
    """A titled section with a block of plain text."""
    node = nodes.section("", nodes.title(text=title), nodes.literal_block(text=text, language="text"))
    node["ids"] = [nodes.make_id(title)]
    node["names"] = [nodes.fully_normalize_name(title)]
    return node


def setup(app):
    app.add_directive("commands", Commands)
    app.add_directive("mass-flags", MassFlags)
    return {"parallel_read_safe": True}
