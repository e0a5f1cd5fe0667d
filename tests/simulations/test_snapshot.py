"""What a snapshot is made of, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

from stellarfm.exceptions import SnapshotError, UnitsError
from stellarfm.simulations import GasBlock, InMemoryGas, Snapshot


def stars(**columns):
    return QTable({"star": [1, 2], **{axis: [1.0, 2.0] * u.pc for axis in "xyz"}} | columns)


def snapshot(**fields):
    box = {"lower": np.zeros(3) * u.pc, "upper": np.full(3, 4) * u.pc}
    return Snapshot(**({"stars": stars(), "gas": None} | box | fields))


def block(**fields):
    return GasBlock(
        **({"position": np.ones((2, 3)), "size": [1, 1], "mass": [1, 2], "velocity": np.ones((2, 3))} | fields)
    )


def test_units_are_converted():
    made = snapshot(
        stars=stars(mass=[1, 2] * u.kg, vx=[1, 2] * u.m / u.s), upper=np.full(3, 4e-3) * u.kpc, time=1 * u.yr
    )
    assert made.stars["mass"].unit == u.solMass
    np.testing.assert_allclose(made.stars["vx"].value, [1e-3, 2e-3])
    np.testing.assert_allclose(made.extent.value, 4)
    assert made.time.value == pytest.approx(1e-6)


def test_no_stars_are_a_table_all_the_same():
    assert len(snapshot(stars=Snapshot.no_stars, label_kind="star").stars) == 0


def test_stars_that_share_a_number_are_reported(caplog):
    assert snapshot(stars=stars(star=[3, 3]), simulation="run", snapshot=7).stars["star"].tolist() == [3, 3]
    assert "run, snapshot 7: 1 of 2 stars have the number of another one" in caplog.text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stars": QTable({"star": [1]})}, "no column x, y, z"),
        ({"label_kind": "sink"}, "no column mass"),
        ({"label_kind": "planet"}, "label kind 'planet'"),
        ({"stars": stars(x=[1, 2])}, "column 'x' of the stars has no unit"),
        ({"stars": stars(x=[1, 2] * u.s)}, "column 'x' of the stars is in s"),
        ({"upper": np.zeros(3) * u.pc}, "expected upper > lower"),
        ({"upper": 4 * u.pc}, r"expected \(3,\)"),
        ({"upper": np.full(3, 4)}, "upper has no unit"),
        ({"periodic": (True,)}, "one boolean each"),
        ({"mass_per_hydrogen": 0.0}, "mass_per_hydrogen is 0.0"),
        ({"time": 3 * u.pc}, "time is in pc"),
    ],
)
def test_impossible_snapshots_are_refused(fields, words):
    with pytest.raises((SnapshotError, UnitsError), match=words):
        snapshot(**fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"position": np.ones((2, 2))}, r"position of the gas has shape \(2, 2\)"),
        ({"velocity": np.ones((3, 3))}, "velocity of the gas has shape"),
        ({"thermal": np.ones(3)}, "thermal of the gas has shape"),
        ({"size": [1, 0]}, "1 of 2 gas elements have no size"),
        ({"mass": [1, -1]}, "negative mass"),
        ({"mass": [1, np.nan]}, "mass of the gas is not finite in 1 of 2"),
        ({"mass": [1, 2] * u.solMass}, "plain numbers in fixed units"),
    ],
)
def test_impossible_gas_is_refused(fields, words):
    with pytest.raises(SnapshotError, match=words):
        block(**fields)


def test_blocks_are_cut_without_copying():
    gas = block(thermal=[1, 2])
    parts = list(InMemoryGas(gas, block_size=1).blocks([None]))
    assert [len(part) for part in parts] == [1, 1]
    assert np.shares_memory(parts[1].position, gas.position)
    assert parts[1].thermal == 2
    assert not list(InMemoryGas(gas).blocks([]))
    with pytest.raises(SnapshotError, match="kind 'lines'"):
        replace(InMemoryGas(gas), kind="lines")
