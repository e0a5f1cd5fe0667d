"""Every registered plugin, whoever published it, passes the checks that we ship to plugin authors."""

import pytest

from stellarfm import registry
from stellarfm.testing import DatasetConformance, EncoderConformance, MethodConformance, ReaderConformance

#: Options for small and quick instances, where the defaults are costly.
OPTIONS = {"dinov2": {"prototypes": 256, "hidden": 64, "bottleneck": 32, "global_size": 32, "local_size": 16}}


class Registered:
    """Runs the checks of a class once for each name of a group."""

    group: str

    @pytest.fixture(autouse=True)
    def _plugin(self, name):
        self.name = name
        self.plugin = registry.get(self.group, name)
        self.options = OPTIONS.get(name, self.options)


@pytest.mark.parametrize("name", registry.names("encoders"))
class TestEncoders(Registered, EncoderConformance):
    group = "encoders"


@pytest.mark.parametrize("name", registry.names("datasets"))
class TestDatasets(Registered, DatasetConformance):
    group = "datasets"


@pytest.mark.parametrize("name", registry.names("methods"))
class TestMethods(Registered, MethodConformance):
    group = "methods"


@pytest.mark.parametrize("name", registry.names("readers"))
class TestReaders(Registered, ReaderConformance):
    group = "readers"
