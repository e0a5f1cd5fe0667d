"""Damaged and hostile files: refused in one line that names the file, without looking at any other file."""

import os
from contextlib import suppress

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from stellarfm.exceptions import MapError, ReaderError, StellarFMError
from stellarfm.hdf5 import open_hdf5
from stellarfm.maps import GasMaps, MapSet
from stellarfm.maps.image_dataset import ImageDataset
from stellarfm.readers import read_maps, read_snapshot
from stellarfm.readers.hdf5.writer import write_snapshot
from stellarfm.readers.tables import read_sources


@pytest.fixture
def map_set(cloud, tmp_path):
    cloud("one", n_stars=2, side=16).write(tmp_path / "maps.h5")
    return tmp_path / "maps.h5"


@pytest.fixture
def fifo(tmp_path):
    """A file that blocks whoever opens it."""
    os.mkfifo(tmp_path / "fifo")
    return str(tmp_path / "fifo")


def external_link(file, place, goal):
    del file[place]
    file[place] = h5py.ExternalLink(goal, "/data")


def external_storage(file, place, goal):
    shape, attributes = file[place].shape, dict(file[place].attrs)
    del file[place]
    size = 4 * int(np.prod(shape))
    file.create_dataset(place, shape, "f4", external=[(goal, 0, size)]).attrs.update(attributes)


def virtual_dataset(file, place, goal):
    shape, attributes = file[place].shape, dict(file[place].attrs)
    del file[place]
    layout = h5py.VirtualLayout(shape, "f4")
    layout[...] = h5py.VirtualSource(goal, "data", shape)
    file.create_virtual_dataset(place, layout).attrs.update(attributes)


REFERENCES = [external_link, external_storage, virtual_dataset]


@pytest.mark.parametrize("refer", REFERENCES)
@pytest.mark.parametrize("place", ["velocity", "stars/mass", "stars"])
@pytest.mark.parametrize("read", [MapSet.read, read_maps])
def test_map_set_that_refers_to_another_file(map_set, fifo, refer, place, read):
    if place == "stars" and refer is not external_link:
        pytest.skip("a group has no storage")
    with h5py.File(map_set, "r+") as file:
        refer(file, place, fifo)
    with pytest.raises(ReaderError, match=r"maps.h5: '/.*another file|maps.h5: '/.*virtual dataset"):
        read(map_set)


@pytest.mark.parametrize("refer", REFERENCES)
@pytest.mark.parametrize("reader", [None, "hdf5", "gadget", "yt"])
def test_snapshot_that_refers_to_another_file(make_snapshot, tmp_path, fifo, refer, reader):
    write_snapshot(make_snapshot(), tmp_path / "snapshot.h5")
    with h5py.File(tmp_path / "snapshot.h5", "r+") as file:
        refer(file, "gas/mass", fifo)
    with pytest.raises(ReaderError, match=r"snapshot.h5: '/gas/mass' is"):
        read_snapshot(tmp_path / "snapshot.h5", reader=reader)


def test_images_that_refer_to_another_file(tmp_path, fifo):
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file.attrs.update(schema="stellarfm-images", schema_version=1, limits=[0.0, 1.0])
        file["images"] = h5py.ExternalLink(fifo, "/images")
    with pytest.raises(ReaderError, match=r"images.h5: '/images' is a link to another file"):
        ImageDataset(path=tmp_path / "images.h5", size=16)


def test_groups_that_contain_themselves_are_walked_once(tmp_path):
    with h5py.File(tmp_path / "loop.h5", "w") as file:
        file["a/b/numbers"] = [1, 2]
        file["a/b/again"] = file["a"]
        file["soft"] = h5py.SoftLink("/soft")
    with open_hdf5(tmp_path / "loop.h5") as file:
        assert list(file["a/b/numbers"]) == [1, 2]


def replace(place, data, **options):
    def change(file):
        attributes = dict(file[place].attrs)
        del file[place]
        file.create_dataset(place, data=data, **options).attrs.update(attributes)

    return change


def attribute(name, value, place="/"):
    return lambda file: file[place].attrs.__setitem__(name, value)


def group(place):
    def change(file):
        del file[place]
        file.create_group(place)

    return change


def shorter(place):
    return lambda file: replace(place, file[place][:-1])(file)


def deeper(place):
    return lambda file: replace(place, file[place][()][None])(file)


LONG = np.dtype("longdouble")
CHANGES = {
    "column is a group": (group("stars/mass"), "stars/mass' is not a dataset"),
    "maps are a group": (group("velocity"), "'velocity' is not a dataset"),
    "stars are a dataset": (replace("stars", [1.0]), "'stars' is not a group"),
    "scalar column": (replace("stars/star", 3), r"stars/star' has shape \(\)"),
    "column without values": (replace("stars/star", h5py.Empty("f8")), "stars/star' is empty"),
    "maps without values": (replace("velocity", h5py.Empty("f4")), "'velocity' is empty"),
    "lists of different lengths": (
        lambda file: file["stars"].create_dataset("extra", (6,), h5py.vlen_dtype("f4")),
        "stars/extra' has values of type object",
    ),
    "complex": (replace("stars/star", np.ones(6, complex)), "values of type complex128"),
    "long numbers": (replace("stars/star", np.ones(6, LONG)), f"values of type {LONG}"),
    "compound": (replace("stars/star", np.ones(6, "i4,f4")), "stars/star' has values of type"),
    "text maps": (replace("velocity", np.full((6, 2, 2), b"x")), "'velocity' has values of type"),
    "integer maps": (replace("velocity", np.ones((6, 16, 16), int)), "'velocity' has values of type int64"),
    "text masses": (replace("stars/mass", np.full(6, b"heavy")), "stars/mass' is text; expected numbers"),
    "short column": (shorter("stars/mass"), "stars/.*' has . rows, but .* has ."),
    "short maps": (shorter("velocity"), r"windows of shapes column_density \(6, 16, 16\), velocity \(5, 16, 16\)"),
    "four dimensions": (deeper("velocity"), r"'velocity' has shape \(1, 6, 16, 16\)"),
    "unit of another kind": (attribute("unit", "Jy", "stars/mass"), "stars/mass' has unit 'Jy'; expected 'solMass'"),
    "unit is a number": (attribute("unit", 3, "velocity"), "'velocity' has a unit attribute that is not a text"),
    "unit is an array": (attribute("unit", [b"m", b"s"], "stars/mass"), "unit attribute that is not a text"),
    "version is a text": (attribute("schema_version", "1"), "'schema_version' is '1'; expected a finite number"),
    "version is an array": (attribute("schema_version", [1, 1]), "'schema_version' is .*; expected a finite number"),
    "scale is a text": (attribute("pixel_scale", "wide"), "'pixel_scale' is 'wide'; expected numbers"),
    "scale is an array": (attribute("pixel_scale", [0.1, 0.1]), "'pixel_scale' has 2 values; expected one"),
    "scale is infinite": (attribute("pixel_scale", np.inf), "pixel_scale is inf pc; expected a positive length"),
    "scale of another kind": (attribute("pixel_scale_unit", "km / s"), "'pixel_scale' is in km / s"),
    "scale without unit": (attribute("pixel_scale_unit", h5py.Empty("S1")), "unit attribute that is not a text"),
    "negative depth": (attribute("depth", -0.5), "depth is -0.5 pc; expected a positive length"),
    "infinite depth": (attribute("depth", np.inf), "depth is inf pc; expected a positive length"),
    "composition is a text": (attribute("mass_per_hydrogen", "1.4"), "'mass_per_hydrogen' is '1.4'"),
    "composition is NaN": (attribute("mass_per_hydrogen", np.nan), "'mass_per_hydrogen' is nan"),
    "composition is negative": (attribute("mass_per_hydrogen", -1.4), "mass_per_hydrogen is -1.4; expected"),
    "kind is an array": (attribute("label_kind", [b"sink", b"star"]), "'label_kind' is not a text"),
    "name without value": (attribute("simulation", h5py.Empty("S1")), "'simulation' is not a text"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_map_set_with_unusable_contents(map_set, change):
    damage, message = CHANGES[change]
    with h5py.File(map_set, "r+") as file:
        damage(file)
    with pytest.raises((ReaderError, MapError), match=f"maps.h5.*{message}"):
        MapSet.read(map_set)


def test_column_of_positions_in_flux_units(make_snapshot, tmp_path):
    write_snapshot(make_snapshot(), tmp_path / "snapshot.h5")
    with h5py.File(tmp_path / "snapshot.h5", "r+") as file:
        file["stars/x"].attrs["unit"] = "Jy"
    with pytest.raises(StellarFMError, match="snapshot.h5.*stars/x' has unit 'Jy'; expected 'pc'"):
        read_snapshot(tmp_path / "snapshot.h5")


@pytest.mark.parametrize("name", ["column_density", "velocity", "velocity_dispersion"])
def test_infinities_in_a_map_set_are_missing(map_set, name, caplog):
    with h5py.File(map_set, "r+") as file:
        values = file[name][()]
        values[0, 3, :4] = [np.inf, -np.inf, np.inf, 0.5]
        file[name][...] = values
    maps = MapSet.read(map_set)
    assert np.isnan(getattr(maps, name)[0, 3, :3]).all()
    assert maps.mask[0, 3, :3].all()
    assert f"maps.h5: dataset '{name}': 3 pixels are infinite and taken as missing" in caplog.text


def test_damaged_values_of_a_map_set_are_noticed(map_set):
    with h5py.File(map_set) as file:
        start = file["velocity"].id.get_chunk_info(0).byte_offset
    content = bytearray(map_set.read_bytes())
    content[start + 40] ^= 1
    map_set.write_bytes(content)
    with pytest.raises(ReaderError, match="maps.h5"):
        MapSet.read(map_set)


@pytest.fixture
def field(field_with_stars, tmp_path):
    maps = field_with_stars()[0]
    maps.write(tmp_path / "field.fits")
    return tmp_path / "field.fits"


@pytest.mark.parametrize("extension", ["COLUMN", "DISPERSION", "MASK"])
@pytest.mark.parametrize("part", ["data", "header"])
def test_one_flipped_bit_in_a_field_is_noticed(field, extension, part, caplog):
    GasMaps.read(field)
    with fits.open(field) as hdus:
        info = hdus[extension].fileinfo()
        start = info["datLoc"] + 101 if part == "data" else field.read_bytes().index(b"CRVAL1", info["hdrLoc"]) + 25
    content = bytearray(field.read_bytes())
    content[start] ^= 1
    field.write_bytes(content)
    if part == "data":
        with pytest.raises(ReaderError, match=rf"field.fits\[{extension}\]: damaged: DATASUM does not fit"):
            GasMaps.read(field)
    else:  # headers are edited without updating CHECKSUM
        with suppress(MapError):
            GasMaps.read(field)
        assert f"field.fits[{extension}]: CHECKSUM does not fit the header" in caplog.text


def test_checksum_that_others_left_behind_is_a_warning(field, caplog):
    """Copying an extension with astropy keeps the CHECKSUM of its former header."""
    planes = {"column": "COLUMN", "velocity": "VELOCITY", "dispersion": "DISPERSION"}
    with fits.open(field) as hdus:
        for role, name in planes.items():
            fits.PrimaryHDU(hdus[name].data, hdus[name].header).writeto(field.with_name(f"{role}.fits"))
    maps = GasMaps.read({role: field.with_name(f"{role}.fits") for role in planes})
    assert np.array_equal(maps.column_density, GasMaps.read(field).column_density, equal_nan=True)
    assert "velocity.fits[VELOCITY]: CHECKSUM does not fit the header" in caplog.text


def test_field_without_sums_is_read(field):
    with fits.open(field) as hdus:
        for hdu in hdus:
            del hdu.header["CHECKSUM"], hdu.header["DATASUM"]
        hdus.writeto(field.with_name("plain.fits"))
    assert GasMaps.read(field.with_name("plain.fits")).column_density.shape == GasMaps.read(field).column_density.shape


STREAM = """<?xml version="1.0"?>
<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>
<FIELD name="ra" datatype="double" unit="deg"/><FIELD name="dec" datatype="double" unit="deg"/>
<DATA><BINARY><STREAM href="file://{goal}"/></BINARY></DATA></TABLE></RESOURCE></VOTABLE>
"""


@pytest.mark.parametrize("suffix", ["vot", "xml"])
def test_votable_that_refers_to_another_file(tmp_path, fifo, suffix):
    (tmp_path / f"stars.{suffix}").write_text(STREAM.format(goal=fifo))
    with pytest.raises(ReaderError, match=f"stars.{suffix}: its STREAM refers to another file"):
        read_sources(tmp_path / f"stars.{suffix}")


def test_votable_with_its_own_data_is_read(tmp_path):
    table = QTable({"ra": [65.0], "dec": [27.0]})
    table["ra"].unit = table["dec"].unit = "deg"
    table.write(tmp_path / "stars.vot", format="votable", tabledata_format="binary")
    assert len(read_sources(tmp_path / "stars.vot")) == 1


def test_shared_cases(shared_data):
    """Small inputs of the reliability report."""
    folder = shared_data / "cases" / "reliability"
    if not folder.is_dir():
        pytest.skip("not in this checkout")
    with pytest.raises(ReaderError, match="verification failed"):
        GasMaps.read(folder / "fits_bitflip_checksum.fits")
    assert not np.isinf(MapSet.read(folder / "mapset_inf.h5").column_density).any()
