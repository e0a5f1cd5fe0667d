"""Conformance checks for plugins: one test class per contract, to be inherited.

A plugin class enters; pytest reports what violates its contract. The tests of a plugin need three lines::

    from stellarfm.testing import DatasetConformance

    class TestGaussians(DatasetConformance):
        plugin = Gaussians

pytest collects the checks; the message of each states what is wrong. Override `options` where the defaults are costly,
and the methods that make inputs where these do not suit the plugin. The classes use nothing of pytest but its
``tmp_path`` fixture. Start with ``base.py``.
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
