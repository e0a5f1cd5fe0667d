import stellarfm_galaxyzoo
from stellarfm_galaxyzoo.command import GalaxyZooCommand
from stellarfm_galaxyzoo.schema import CAMPAIGNS

from stellarfm import registry
from stellarfm.plugin_check import check_plugins
from stellarfm.testing import CommandConformance


class TestCommand(CommandConformance):
    plugin = GalaxyZooCommand


def test_all_plugins_are_registered_and_work():
    listed = [plugin for plugin in registry.plugins() if plugin.package == "stellarfm-galaxyzoo"]
    ours = {(plugin.group, plugin.name): plugin.state for plugin in check_plugins(listed)}
    assert ours == dict.fromkeys(
        [
            ("stellarfm.commands", "galaxyzoo"),
            ("stellarfm.datasets", "galaxyzoo"),
            ("stellarfm.datasets", "galaxyzoo-synthetic"),
            ("stellarfm.methods", "byol-hybrid"),
        ],
        "ok",
    )


def test_every_public_name_resolves():
    assert all(getattr(stellarfm_galaxyzoo, name) is not None for name in stellarfm_galaxyzoo.__all__)


def test_every_public_name_has_examples():
    missing = [n for n in stellarfm_galaxyzoo.__all__ if ">>> " not in (getattr(stellarfm_galaxyzoo, n).__doc__ or "")]
    assert not missing


def test_the_command_names_the_campaigns():
    from stellarfm_galaxyzoo import command

    assert command.CAMPAIGNS == CAMPAIGNS
