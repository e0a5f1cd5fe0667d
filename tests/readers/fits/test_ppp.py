import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from stellarfm import registry
from stellarfm.exceptions import MapError, ReaderError, SnapshotError, UnitsError
from stellarfm.readers.fits import uniform_grid
from stellarfm.readers.fits.ppp import PPPReader
from stellarfm.readers.loading import find_reader
from stellarfm.simulations import Region, project

SHAPE = (6, 8, 10)  # z, y, x


def header(unit, *, origin=0.0, ctype=None):
    cards = fits.Header({"BUNIT": unit} if unit else {})
    for axis in (1, 2, 3):
        cards[f"CDELT{axis}"], cards[f"CUNIT{axis}"] = 0.1, "pc"
        cards[f"CRPIX{axis}"], cards[f"CRVAL{axis}"] = 0.5, origin
        if ctype:
            cards[f"CTYPE{axis}"] = ctype[axis - 1]
    return cards


@pytest.fixture
def values():
    rng = np.random.default_rng(0)
    return rng.uniform(1e3, 1e4, SHAPE).astype("f4"), rng.normal(0, 1, (3, *SHAPE)).astype("f4")


@pytest.fixture
def cubes(values, tmp_path):
    """One file with density and three velocities."""
    density, velocity = values
    hdus = [fits.PrimaryHDU(density, header("cm-3"))]
    for axis, cube in zip("XYZ", velocity, strict=True):
        hdus.append(fits.ImageHDU(cube, header("km s-1"), name=f"VELOCITY_{axis}"))
    fits.HDUList(hdus).writeto(tmp_path / "cubes.fits")
    return tmp_path / "cubes.fits"


@pytest.fixture
def files(values, tmp_path):
    """Four files."""
    density, velocity = values
    fits.PrimaryHDU(density, header("cm-3")).writeto(tmp_path / "density.fits")
    for axis, cube in zip("xyz", velocity, strict=True):
        fits.PrimaryHDU(cube * 1e5, header("cm s-1")).writeto(tmp_path / f"v{axis}.fits")
    return tmp_path / "density.fits"


def whole(snapshot):
    (block,) = snapshot.gas.blocks([Region(snapshot.lower.value, snapshot.upper.value)])
    return block


def cell_mass(density):
    return (density * 1.4 * 1.00782503 * u.u * (0.1 * u.pc) ** 3 / u.cm**3).to_value(u.solMass)


def test_the_first_fits_axis_is_x(cubes, values):
    density, velocity = values
    snapshot = PPPReader().read(cubes)
    assert u.allclose(snapshot.upper, [1.0, 0.8, 0.6] * u.pc)
    assert len(snapshot.stars) == 0
    block = whole(snapshot)
    index = tuple(np.round(block.position / 0.1 - 0.5).astype(int).T[::-1])
    assert np.allclose(block.mass, cell_mass(density.astype(float))[index], rtol=1e-6)
    assert np.allclose(block.velocity, np.moveaxis(velocity, 0, -1)[index])
    assert np.allclose(block.size, 0.1)
    assert block.thermal is None


def test_ctype_names_other_orders(values, tmp_path):
    density, velocity = values
    hdus = [fits.PrimaryHDU(density, header("cm-3", ctype=("Z", "Y", "X")))]
    hdus += [fits.ImageHDU(cube, header("km/s"), name=f"V{axis}") for axis, cube in zip("XYZ", velocity, strict=True)]
    fits.HDUList(hdus).writeto(tmp_path / "turned.fits")
    block = whole(PPPReader().read(tmp_path / "turned.fits"))
    index = tuple(np.round(block.position / 0.1 - 0.5).astype(int).T)
    assert np.allclose(block.mass, cell_mass(density.astype(float))[index], rtol=1e-6)


def test_origin_and_descending_axes(values, tmp_path):
    cards = header("cm-3", origin=-0.5)
    cards["CDELT1"] = -0.1
    fits.PrimaryHDU(values[0], cards).writeto(tmp_path / "d.fits")
    fits.PrimaryHDU(values[1][0], header("km/s")).writeto(tmp_path / "v.fits")
    snapshot = PPPReader(velocities="v.fits", line_of_sight="x").read(tmp_path / "d.fits")
    assert u.allclose(snapshot.lower, [-1.5, -0.5, -0.5] * u.pc)
    assert u.allclose(snapshot.extent, [1.0, 0.8, 0.6] * u.pc)
    block = whole(snapshot)
    last = np.argmax(block.position.sum(axis=1))
    assert np.isclose(block.mass[last], cell_mass(float(values[0][-1, -1, 0])), rtol=1e-6)


def test_files_give_what_one_file_gives(cubes, files):
    one, four = PPPReader().read(cubes), PPPReader(velocities="vx.fits, vy.fits,vz.fits").read(files)
    assert np.allclose(whole(one).velocity, whole(four).velocity, rtol=1e-5)
    assert {name for name in four.provenance if "fits" in name} == {
        "sha256 density.fits",
        *(f"sha256 v{axis}.fits" for axis in "xyz"),
    }


def test_maps_are_sums_of_the_cubes(cubes, values):
    density, velocity = values
    snapshot = PPPReader(periodic=True).read(cubes)
    maps = project(snapshot, positions=[[0.5, 0.4, 0.3]] * u.pc, width="0.4 pc", pixels=4, axes="z")
    part = density[1:5, 2:6, 3:7].astype(float)
    column = part.sum(axis=0).T * (0.1 * u.pc).to_value(u.cm)
    assert np.allclose(maps.column_density[0].value, column, rtol=1e-5)
    mean = (part * velocity[2][1:5, 2:6, 3:7]).sum(axis=0).T / part.sum(axis=0).T
    assert np.allclose(maps.velocity[0].value, mean, atol=1e-5)


def test_only_what_overlaps_is_read_slab_by_slab(cubes, monkeypatch):
    gas = PPPReader().read(cubes).gas
    monkeypatch.setattr(uniform_grid, "BLOCK_SIZE", 100)
    corner = Region(np.zeros(3), np.array([0.25, 0.15, 0.35]))
    blocks = list(gas.blocks([corner, Region(np.zeros(3), np.full(3, 0.05))]))
    found = np.concatenate([block.position for block in blocks])
    assert len(found) == len(np.unique(found, axis=0)) == 3 * 2 * 4
    assert len(blocks) == 4
    assert list(gas.blocks([])) == []


def test_one_velocity_can_be_projected_along_it_only(files):
    snapshot = PPPReader(velocities="vz.fits", line_of_sight="z").read(files)
    places = [[0.5, 0.4, 0.3]] * u.pc
    assert len(project(snapshot, positions=places, width="0.2 pc", pixels=2, axes="z")) == 1
    for wrong in ({"axes": "xz"}, {"directions": 2}):
        with pytest.raises(SnapshotError, match="velocities along z only; pass axes='z'"):
            project(snapshot, positions=places, width="0.2 pc", pixels=2, **wrong)


def test_units_and_thermal_motion(files):
    common = {"velocities": "vx.fits,vy.fits,vz.fits"}
    plain = whole(PPPReader(**common).read(files))
    assert np.allclose(whole(PPPReader(density_species="H2", **common).read(files)).mass, 2 * plain.mass)
    grams = whole(PPPReader(density_unit="1e-24 g cm-3", **common).read(files))
    factor = (1.4 * 1.00782503 * u.u).to_value(u.g) / 1e-24
    assert np.allclose(grams.mass * factor, plain.mass, rtol=1e-6)
    assert np.allclose(whole(PPPReader(cell_size="0.2 pc", **common).read(files)).mass, 8 * plain.mass)
    assert np.all(whole(PPPReader(sound_speed="190 m/s", **common).read(files)).thermal == 0.19)


def test_readers_know_it_by_its_axes(cubes, files):
    assert find_reader(cubes) == find_reader(files) == "fits-ppp"
    assert np.array_equal(
        whole(registry.create("readers", "fits").read(cubes)).mass, whole(PPPReader().read(cubes)).mass
    )


@pytest.mark.parametrize(
    ("options", "change", "error", "message"),
    [
        ({}, {}, ReaderError, "expected VELOCITY_X"),
        ({"velocities": "vx.fits,vy.fits"}, {}, MapError, "2 velocity cubes; expected three"),
        ({"velocities": "vx.fits"}, {}, MapError, "or one and its line_of_sight"),
        ({"velocities": "vx.fits,vy.fits,density.fits"}, {}, UnitsError, "'cm-3' is not a velocity"),
        ({"velocities": "vx.fits,vy.fits,absent.fits"}, {}, ReaderError, "absent.fits: no such file"),
        ({"velocities": "vx.fits,vy.fits,vz.fits"}, {"BUNIT": ""}, UnitsError, "BUNIT is missing.*density_unit"),
        ({"velocities": "vx.fits,vy.fits,vz.fits"}, {"BUNIT": "K"}, UnitsError, "expected a mass or number density"),
        (
            {"velocities": "vx.fits,vy.fits,vz.fits"},
            {"BUNIT": "H2 cm-3"},
            UnitsError,
            "counts H2; give density_",
        ),
        ({}, {"CUNIT2": ""}, UnitsError, "CUNIT2 is missing.*cell_size"),
        ({}, {"CUNIT2": "km/s"}, UnitsError, "CUNIT2 'km/s' is not a length"),
        ({}, {"CDELT2": 0.2}, MapError, "expected cubes"),
        ({}, {"CTYPE1": "X", "CTYPE2": "X"}, MapError, "expected X, Y and Z"),
    ],
)
def test_what_is_missing_or_wrong_is_named(files, options, change, error, message):
    with fits.open(files, mode="update") as hdus:
        hdus[0].header.update(change)
    with pytest.raises((error, OSError), match=message) as caught:
        PPPReader(**options).read(files)
    assert isinstance(caught.value, error) or "no such file" in message


def test_shapes_must_agree(files, tmp_path):
    fits.PrimaryHDU(np.ones((6, 8, 9)), header("km/s")).writeto(tmp_path / "odd.fits")
    with pytest.raises(MapError, match=r"odd.fits: velocity of shape \(6, 8, 9\); expected \(6, 8, 10\)"):
        PPPReader(velocities="vx.fits,vy.fits,odd.fits").read(files)


def test_blanks_in_a_cube_are_refused(cubes):
    with fits.open(cubes, mode="update") as hdus:
        hdus[0].data[0, 0, 0] = np.nan
    with pytest.raises(ReaderError, match="cubes.fits: mass of the gas is not finite"):
        whole(PPPReader().read(cubes))


def test_a_truncated_cube_is_refused_at_once(files):
    content = files.read_bytes()
    files.write_bytes(content[: len(content) // 2])
    with pytest.raises(ReaderError, match="density.fits"):
        PPPReader(velocities="vx.fits,vy.fits,vz.fits").read(files)


@pytest.mark.parametrize("options", [{"line_of_sight": "w"}, {"density_species": "CO"}])
def test_options_that_make_no_sense(options):
    with pytest.raises(ReaderError):
        PPPReader(**options)
