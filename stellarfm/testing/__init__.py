"""Conformance checks that plugin authors inherit: one class for each contract.

A plugin's own tests need three lines::

    from stellarfm.testing import DatasetConformance

    class TestGaussians(DatasetConformance):
        plugin = Gaussians

pytest collects the checks; each says in its own words what a plugin got wrong. Override `options` where the defaults
are costly, and the methods that make inputs where they do not suit the plugin. The classes use nothing of pytest
but its ``tmp_path`` fixture.
"""

from stellarfm.testing.commands import CommandConformance
from stellarfm.testing.datasets import DatasetConformance
from stellarfm.testing.encoders import EncoderConformance
from stellarfm.testing.heads import HeadConformance
from stellarfm.testing.methods import MethodConformance
from stellarfm.testing.readers import ReaderConformance

__all__ = [
    "CommandConformance",
    "DatasetConformance",
    "EncoderConformance",
    "HeadConformance",
    "MethodConformance",
    "ReaderConformance",
]
