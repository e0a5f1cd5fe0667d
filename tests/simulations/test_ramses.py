"""A raw RAMSES output: its finished windows, yt where yt is exact, and the mass in every window."""

import numpy as np
import pytest
from astropy import units as u

from stellarfm.maps import MapSet
from stellarfm.simulations import Region, project
from stellarfm.simulations.deposition.moments import HYDROGEN_MASS

pytestmark = pytest.mark.shared_data


@pytest.fixture(scope="module")
def snapshot(shared_data):
    from stellarfm.readers.simulation_outputs import YTReader

    return YTReader().read(shared_data / "ramses" / "output_00007")


def test_the_finished_windows_are_reproduced(snapshot, shared_data):
    """To the bits that they keep: 9 of the column density and the dispersion, 11 of the velocity."""
    finished = MapSet.read(shared_data / "ramses" / "windows.h5")
    maps = project(snapshot, snap=True)
    half_a_bit = {"column_density": 2.0**-10, "velocity": 2.0**-12, "velocity_dispersion": 2.0**-10}
    for name, tolerance in half_a_bit.items():
        ours, kept = getattr(maps, name).value, getattr(finished, name).value
        np.testing.assert_allclose(ours, kept, rtol=1.1 * tolerance, atol=1e-6 * (name == "velocity"))
    assert list(maps.stars["star"]) == list(finished.stars["star"])
    for name, unit in {"mass": u.solMass, "x": u.pc, "vy": u.km / u.s, "time": u.Myr}.items():
        np.testing.assert_allclose(maps.stars[name].to_value(unit), finished.stars[name].to_value(unit), rtol=1e-4)


def test_windows_hold_the_mass_of_the_cells_in_them(snapshot):
    """Each cell counts with the part of its volume in the window, worked out here for all three directions at once."""
    maps = project(snapshot, pixels=32)
    width, period = 0.5, snapshot.extent.value
    expected = np.zeros(len(snapshot.stars))
    for block in snapshot.gas.blocks([Region(snapshot.lower.value, snapshot.upper.value)]):
        for i, star in enumerate(np.stack([snapshot.stars[axis].value for axis in "xyz"], axis=1)):
            offset = (block.position - star + period / 2) % period - period / 2
            reach = block.size[:, None] / 2
            inside = np.minimum(offset + reach, width / 2) - np.maximum(offset - reach, -width / 2)
            expected[i] += np.sum(block.mass * np.prod(np.clip(inside, 0, None), axis=1) / block.size**3)
    atom = 1.4 * HYDROGEN_MASS
    mass = (maps.column_density.astype(float).sum(axis=(1, 2)) * maps.pixel_scale**2 * atom).to_value(u.solMass)
    np.testing.assert_allclose(mass, np.repeat(expected, 3), rtol=1e-6)


def test_maps_are_those_of_yt_where_yt_is_exact(snapshot, shared_data):
    """Windows that cut no cell: yt takes whole cells by their centres."""
    yt = pytest.importorskip("yt", reason="yt comes with the extra stellarfm[yt]")
    yt.set_log_level(50)
    dataset = yt.load(str(shared_data / "ramses" / "output_00007" / "info_00007.txt"))
    coarse = snapshot.extent.value[0] / 32
    center, width = np.array([9, 28, 14]) * coarse, 4 * coarse
    maps = project(snapshot, positions=[center] * u.pc, width=width * u.pc, axes="zx")
    middle, half = dataset.arr(center, "pc"), dataset.quan(width / 2, "pc")
    region = dataset.region(middle, middle - half, middle + half)
    for axis, window in zip("zx", maps, strict=True):
        velocity, density = ("gas", f"velocity_{axis}"), ("gas", "density")
        wanted = {
            "column_density": (density, {}, "g/cm**2"),
            "velocity": (velocity, {"weight_field": density}, "km/s"),
            "velocity_dispersion": (velocity, {"weight_field": density, "moment": 2}, "km/s"),
        }
        for name, (field, options, unit) in wanted.items():
            plot = dataset.proj([field], axis, data_source=region, **options)
            theirs = plot.to_frb(2 * half, 64, center=middle)[field].to_value(unit).T
            ours = getattr(window, name)[0]
            ours = (ours * 1.4 * HYDROGEN_MASS).to_value(u.g / u.cm**2) if name == "column_density" else ours.value
            np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-6 * np.abs(theirs).max(), err_msg=name)
