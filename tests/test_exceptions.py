import pickle

import pytest

from stellarfm import exceptions

EVERY = [getattr(exceptions, name) for name in exceptions.__all__]


@pytest.mark.parametrize("error", EVERY)
def test_message_is_printed_as_it_is(error):
    assert str(error("a 'quoted' message")) == "a 'quoted' message"


@pytest.mark.parametrize("error", EVERY)
def test_is_ours_and_documented(error):
    assert issubclass(error, exceptions.StellarFMError)
    assert error.__doc__


@pytest.mark.parametrize("error", EVERY)
def test_survives_the_way_back_from_a_worker_process(error):
    again = pickle.loads(pickle.dumps(error("lost in a worker")))
    assert type(again) is error
    assert str(again) == "lost in a worker"


@pytest.mark.parametrize(
    ("error", "natural"),
    [
        (exceptions.InputNotFoundError, FileNotFoundError),
        (exceptions.OutputExistsError, FileExistsError),
        (exceptions.MapError, ValueError),
        (exceptions.UnitsError, ValueError),
        (exceptions.ReaderError, OSError),
        (exceptions.ModelError, ValueError),
        (exceptions.PretrainingError, ValueError),
        (exceptions.UnknownPluginError, KeyError),
        (exceptions.DuplicatePluginError, ValueError),
        (exceptions.BrokenPluginError, ImportError),
        (exceptions.PluginTypeError, TypeError),
    ],
)
def test_can_be_caught_as_the_natural_exception(error, natural):
    with pytest.raises(natural, match="^why$"):
        raise error("why")
