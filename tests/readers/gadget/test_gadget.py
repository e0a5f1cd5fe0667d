import h5py
import numpy as np
import pytest
from astropy import units as u
from astropy.cosmology import LambdaCDM

from stellarfm.exceptions import ReaderError
from stellarfm.readers.simulation_outputs import YTReader
from stellarfm.simulations import Region

#: The code units of the STARFORGE-like file.
LENGTH, MASS, VELOCITY = 3.085678e18 * u.cm, 1.989e33 * u.g, 1 * u.m / u.s


def around(position, half=0.01):
    return Region(np.subtract(position, half), np.add(position, half))


def gas_of(snapshot, *regions):
    """All gas of some regions in one block's worth of arrays, sorted by mass."""
    blocks = list(snapshot.gas.blocks(list(regions) or [Region(snapshot.lower.value, snapshot.upper.value)]))
    joined = {name: np.concatenate([getattr(b, name) for b in blocks]) for name in ("position", "size", "mass")}
    joined["thermal"] = np.concatenate([b.thermal for b in blocks]) if blocks[0].thermal is not None else None
    joined["velocity"] = np.concatenate([b.velocity for b in blocks])
    order = np.argsort(joined["mass"])
    return {name: None if values is None else values[order] for name, values in joined.items()}


@pytest.fixture
def starforge(outputs, tmp_path):
    return outputs.write_starforge(tmp_path / "snapshot_004.hdf5")


def test_stars_have_the_mass_of_the_star(starforge, outputs):
    snapshot = YTReader().read(starforge)
    stars, length = snapshot.stars, LENGTH.to_value(u.pc)
    assert snapshot.label_kind == "star"
    assert stars["star"].tolist() == [7, 8, 9]
    np.testing.assert_allclose(stars["mass"].value, outputs.stars["BH_Mass"] * MASS.to_value(u.solMass), rtol=1e-12)
    np.testing.assert_allclose(stars["x"].value, np.array([5, 1, 9.9]) * length)
    np.testing.assert_allclose(stars["vy"].value, [0, -0.5, 0])
    code_time = (LENGTH / VELOCITY).to(u.Myr)
    np.testing.assert_allclose(stars["age"].value, np.array([0.003, 0.002, 0]) * code_time.value, atol=1e-12)
    rate = (np.array([0, 2, 4]) * MASS / code_time).to_value(u.solMass / u.yr)
    np.testing.assert_allclose(stars["accretion_rate"].value, rate)
    np.testing.assert_allclose(snapshot.time.value, 0.004 * code_time.value)
    np.testing.assert_allclose(snapshot.upper.value, 10 * length)
    assert snapshot.periodic == (True, True, True)
    assert snapshot.snapshot == 4
    assert snapshot.provenance["code"] == "GIZMO 2021"
    assert len(snapshot.provenance["sha256 snapshot_004.hdf5"]) == 64


def test_the_reservoir_belongs_to_the_sink(starforge, outputs):
    snapshot = YTReader(label_kind="sink").read(starforge)
    assert snapshot.label_kind == "sink"
    np.testing.assert_allclose(snapshot.stars["mass"].value, outputs.stars["Masses"] * MASS.to_value(u.solMass))


def test_gas_has_units(starforge, outputs):
    snapshot = YTReader().read(starforge)
    gas = gas_of(snapshot)
    assert snapshot.gas.kind == "particles"
    np.testing.assert_allclose(gas["mass"], outputs.gas["Masses"] * MASS.to_value(u.solMass))
    np.testing.assert_allclose(gas["size"], outputs.gas["SmoothingLength"] * LENGTH.to_value(u.pc))
    np.testing.assert_allclose(gas["velocity"], [[0.1, 0.2, 0.3]] * 4)
    np.testing.assert_allclose(gas["thermal"], np.sqrt(2 / 3 * 6e4) / 1e3)
    assert gas_of(YTReader(sound_speed="0.2 km/s").read(starforge))["thermal"].tolist() == [0.2] * 4


def test_gas_is_asked_for_by_region(starforge):
    snapshot = YTReader().read(starforge)
    length = LENGTH.to_value(u.pc)
    at = {name: np.array(place) * length for name, place in {"centre": [5] * 3, "left": [0.05, 5, 5]}.items()}
    masses = {name: gas_of(snapshot, around(place))["mass"] / MASS.to_value(u.solMass) for name, place in at.items()}
    np.testing.assert_allclose(masses["centre"], [1e-3, 2e-3])
    np.testing.assert_allclose(masses["left"], [8e-3])  # it reaches across the periodic border
    both = gas_of(snapshot, around(at["centre"]), around(at["centre"], 0.02), around(at["left"]))
    np.testing.assert_allclose(both["mass"] / MASS.to_value(u.solMass), [1e-3, 2e-3, 8e-3])
    assert list(snapshot.gas.blocks([])) == []


def test_open_boxes_do_not_wrap(starforge):
    snapshot = YTReader(periodic=False).read(starforge)
    assert snapshot.periodic == (False, False, False)
    assert list(snapshot.gas.blocks([around(np.array([0.05, 5, 5]) * LENGTH.to_value(u.pc))])) == []


def test_blocks_are_slices_of_the_file(starforge, monkeypatch):
    monkeypatch.setattr("stellarfm.readers.gadget.gas.BLOCK_SIZE", 3)
    snapshot = YTReader().read(starforge)
    assert [len(b) for b in snapshot.gas.blocks([Region(snapshot.lower.value, snapshot.upper.value)])] == [3, 1]


def test_cells_of_a_moving_mesh_get_kernels_of_twice_their_radius(outputs, tmp_path):
    gas = {name: values for name, values in outputs.gas.items() if name != "SmoothingLength"}
    snapshot = YTReader().read(outputs.write_gadget(tmp_path / "snap_1.hdf5", PartType0=gas))
    volume = outputs.gas["Masses"] / outputs.gas["Density"]
    expected = 2 * np.cbrt(3 * volume / (4 * np.pi)) * LENGTH.to_value(u.pc)
    np.testing.assert_allclose(gas_of(snapshot)["size"], expected)


def test_without_units_a_file_is_refused_until_they_are_given(outputs, tmp_path, starforge):
    bare = {name: value for name, value in outputs.header.items() if not name.startswith("Unit")}
    path = outputs.write_gadget(tmp_path / "bare_4.hdf5", header=bare, PartType0=outputs.gas, PartType5=outputs.stars)
    with pytest.raises(ReaderError, match=r"bare_4.hdf5: its header states no unit of length; give unit_length"):
        YTReader().read(path)
    options = {"unit_length": "3.085678e18 cm", "unit_mass": "1.989e33 g", "unit_velocity": "1 m/s"}
    given, whole = YTReader(**options).read(path), YTReader().read(starforge)
    for name in whole.stars.colnames:
        np.testing.assert_allclose(np.asarray(given.stars[name]), np.asarray(whole.stars[name]), rtol=1e-12)


def test_particles_removed_after_the_run_are_not_counted(outputs, tmp_path, caplog):
    path = outputs.write_gadget(tmp_path / "snapshot_000.hdf5")
    caplog.set_level("INFO", logger="stellarfm")
    snapshot = YTReader().read(path)
    assert snapshot.gas is None
    assert len(snapshot.stars) == 0
    assert snapshot.label_kind is None
    assert "holds no gas (its header counts 4 gas particles)" in caplog.text
    assert "holds no stars; give positions" in caplog.text


def test_sinks_without_a_star_are_left_out(outputs, tmp_path, caplog):
    caplog.set_level("INFO", logger="stellarfm")
    path = outputs.write_gadget(tmp_path / "s_1.hdf5", PartType5={**outputs.stars, "BH_Mass": np.array([0, 0.25, 16])})
    assert YTReader().read(path).stars["star"].tolist() == [8, 9]
    assert "1 sinks hold no star yet" in caplog.text


def test_sinks_without_a_star_mass_are_sinks(outputs, tmp_path):
    stars = {name: values for name, values in outputs.stars.items() if name != "BH_Mass"}
    path = outputs.write_gadget(tmp_path / "s_1.hdf5", PartType5=stars)
    assert YTReader().read(path).label_kind == "sink"
    with pytest.raises(ReaderError, match=r"s_1.hdf5: no BH_Mass"):
        YTReader(label_kind="star").read(path)


def test_fragments_that_share_a_number_are_one_star_in_any_order(outputs, tmp_path, caplog):
    stars = {**outputs.stars, "ParticleIDs": np.array([7, 7, 9])}
    backwards = {name: values[::-1] for name, values in stars.items()}
    for name, columns in {"s_1.hdf5": stars, "s_2.hdf5": backwards}.items():
        caplog.clear()
        table = YTReader().read(outputs.write_gadget(tmp_path / name, PartType5=columns)).stars
        assert dict(zip(table["mass"].value.round(2), table["star"], strict=True)) == {1.25: 7, 0.25: 7, 16.0: 9}
        assert "1 of 3 stars have the number of another one" in caplog.text


def test_stars_without_numbers_are_reported(outputs, tmp_path, caplog):
    stars = {name: values for name, values in outputs.stars.items() if name != "ParticleIDs"}
    header = {**outputs.header, "NumFilesPerSnapshot": 2}
    for i, part in enumerate((slice(0, 2), slice(2, 3))):
        groups = {"PartType5": {name: values[part] for name, values in stars.items()}}
        outputs.write_gadget(tmp_path / f"s_1.{i}.hdf5", header=header, **groups)
    assert YTReader().read(tmp_path / "s_1.0.hdf5").stars["star"].tolist() == [0, 1, 2]
    assert "stars have no ParticleIDs and cannot be followed" in caplog.text


def test_a_snapshot_in_parts_is_one(outputs, tmp_path):
    header = {**outputs.header, "NumFilesPerSnapshot": 2}
    for i, part in enumerate((slice(0, 2), slice(2, 4))):
        groups = {
            "PartType0": {name: values[part] for name, values in outputs.gas.items()},
            "PartType5": {name: values[part] for name, values in outputs.stars.items()},
        }
        outputs.write_gadget(tmp_path / f"snap_010.{i}.hdf5", header=header, **groups)
    snapshot = YTReader().read(tmp_path / "snap_010.1.hdf5")
    assert snapshot.snapshot == 10
    assert snapshot.stars["star"].tolist() == [7, 8, 9]
    assert len(gas_of(snapshot)["mass"]) == 4
    (tmp_path / "snap_010.0.hdf5").unlink()
    with pytest.raises(ReaderError, match=r"1 of 2 files are missing, first snap_010.0.hdf5"):
        YTReader().read(tmp_path / "snap_010.1.hdf5")


COSMOLOGY = {"Time": 0.5, "Redshift": 1.0, "HubbleParam": 0.7, "Omega0": 0.3, "OmegaLambda": 0.7}


def test_comoving_units_are_physical(outputs, tmp_path):
    header = {**outputs.header, **COSMOLOGY, "ComovingIntegrationOn": 1}
    stars = {name: outputs.stars[name] for name in ("Coordinates", "Velocities", "Masses", "ParticleIDs")}
    formed = {"StellarFormationTime": np.array([0.25, 0.5, -0.4])}
    path = outputs.write_gadget(tmp_path / "s_1.hdf5", header=header, PartType0=outputs.gas, PartType4=stars | formed)
    snapshot = YTReader().read(path)
    assert snapshot.label_kind is None  # populations of stars
    np.testing.assert_allclose(snapshot.upper.value, 10 * LENGTH.to_value(u.pc) * 0.5 / 0.7)
    np.testing.assert_allclose(
        snapshot.stars["mass"].value, outputs.stars["Masses"][:2] * MASS.to_value(u.solMass) / 0.7
    )
    np.testing.assert_allclose(snapshot.stars["vx"].value, [np.sqrt(0.5), 0], atol=1e-12)
    age = LambdaCDM(H0=70, Om0=0.3, Ode0=0.7).age([3, 1]).to(u.Myr)
    np.testing.assert_allclose(snapshot.stars["age"].value, [(age[1] - age[0]).value, 0], atol=1e-6)
    np.testing.assert_allclose(gas_of(snapshot)["size"], outputs.gas["SmoothingLength"] * snapshot.upper.value[0] / 10)


def move_attributes(path, names, group, convert=lambda value: value):
    """Move attributes of the header to another group, as Gadget-4, AREPO and EAGLE store them."""
    with h5py.File(path, "a") as file:
        header, other = file["Header"].attrs, file.require_group(group).attrs
        for name in names:
            other[name] = convert(header[name])
            del header[name]


MOVED = ("HubbleParam", "Omega0", "OmegaLambda", "ComovingIntegrationOn")
UNITS = ("UnitLength_In_CGS", "UnitMass_In_CGS", "UnitVelocity_In_CGS")


@pytest.mark.parametrize(
    ("names", "group", "convert"),
    [
        ((*MOVED, *UNITS), "Parameters", lambda value: value),
        (UNITS, "Units", lambda value: np.array([value])),
        (MOVED, "Cosmology", lambda value: np.array([value])),
        (MOVED, "RuntimePars", lambda value: np.bytes_(str(value))),
    ],
)
def test_units_and_cosmology_are_found_in_every_group(outputs, tmp_path, names, group, convert):
    header = {**outputs.header, **COSMOLOGY, "ComovingIntegrationOn": 1}
    stars = {name: outputs.stars[name] for name in ("Coordinates", "Velocities", "Masses", "ParticleIDs")}
    stars["StellarFormationTime"] = np.array([0.25, 0.5, 0.4])
    path = outputs.write_gadget(tmp_path / "s_1.hdf5", header=header, PartType0=outputs.gas, PartType4=stars)
    before = YTReader().read(path)
    move_attributes(path, names, group, convert)
    after = YTReader().read(path)
    assert (after.upper == before.upper).all()
    assert after.time == before.time
    for name in before.stars.colnames:
        assert np.all(after.stars[name] == before.stars[name])
    for name, values in gas_of(before).items():
        assert np.array_equal(gas_of(after)[name], values)


@pytest.mark.parametrize(
    ("group", "attributes", "message"),
    [
        (
            "Parameters",
            {"UnitLength_in_cm": 3.085678e21},
            r"unit of length: 3.08568e\+18 \(Header/.*; give unit_length",
        ),
        ("Units", {"UnitMass_in_g": 1.989e43}, r"unit of mass: .* 1.989e\+43 \(Units/UnitMass_in_g\)"),
        ("Parameters", {"HubbleParam": 0.5}, r"Hubble parameter h: 0.7 \(Header/HubbleParam\), 0.5 \(Parameters/"),
        ("Cosmology", {"Omega_m": [0.25]}, "matter density: 0.3 .*0.25"),
        ("Parameters", {"ComovingIntegrationOn": 0}, "different values of ComovingIntegrationOn"),
        ("Header", {"Redshift": 2.0}, r"expansion factor 0.5 \(Time\) and redshift 2 disagree"),
        ("Header", {"ExpansionFactor": 0.4}, "expansion factor: 0.5 .*0.4"),
        ("Header", {"HubbleParam": 0.0}, "a comoving run without a Hubble parameter; expected HubbleParam in one of"),
    ],
)
def test_statements_that_disagree_are_refused(outputs, tmp_path, group, attributes, message):
    header = {**outputs.header, **COSMOLOGY, "ComovingIntegrationOn": 1}
    path = outputs.write_gadget(tmp_path / "s_1.hdf5", header=header, PartType0=outputs.gas)
    with h5py.File(path, "a") as file:
        file.require_group(group).attrs.update(attributes)
    with pytest.raises(ReaderError, match=rf"s_1.hdf5: .*{message}"):
        YTReader().read(path)


def test_units_given_by_the_user_settle_a_disagreement(starforge):
    expected = YTReader().read(starforge)
    with h5py.File(starforge, "a") as file:
        file.create_group("Parameters").attrs["UnitLength_in_cm"] = 3.085678e21
        file["Parameters"].attrs["UnitMass_in_g"] = 1.98841e33  # another solar mass, not another unit
    with pytest.raises(ReaderError, match="give unit_length"):
        YTReader().read(starforge)
    found = YTReader(unit_length="3.085678e18 cm").read(starforge)
    np.testing.assert_allclose(found.stars["x"].value, expected.stars["x"].value)
    assert np.all(found.stars["mass"] == expected.stars["mass"])


def test_a_cosmology_without_densities_has_no_ages(outputs, tmp_path):
    header = {**outputs.header, "Time": 0.5, "Redshift": 1.0, "HubbleParam": 0.7, "ComovingIntegrationOn": 1}
    snapshot = YTReader().read(outputs.write_gadget(tmp_path / "s_1.hdf5", header=header, PartType0=outputs.gas))
    assert np.isnan(snapshot.time)


def test_what_a_dataset_says_of_its_units_goes_first(outputs, tmp_path):
    header = {**outputs.header, **COSMOLOGY, "ComovingIntegrationOn": 1}
    said = {"CGSConversionFactor": [2e33], "aexp-scale-exponent": [0.0], "h-scale-exponent": [-1.0]}
    stars = {name: outputs.stars[name] for name in ("Coordinates", "Velocities", "Masses")}
    path = outputs.write_gadget(tmp_path / "s_1.hdf5", header=header, attributes={"Masses": said}, PartType4=stars)
    expected = outputs.stars["Masses"] * (2e33 * u.g).to_value(u.solMass) / 0.7
    np.testing.assert_allclose(YTReader().read(path).stars["mass"].value, expected)


def test_black_holes_of_galaxies_are_no_stars(outputs, tmp_path):
    header = {**outputs.header, **COSMOLOGY}
    del header["ComovingIntegrationOn"]  # nothing says comoving, but its time is an expansion factor
    snapshot = YTReader().read(outputs.write_gadget(tmp_path / "s_1.hdf5", header=header, PartType5=outputs.stars))
    assert len(snapshot.stars) == 0


@pytest.mark.parametrize(
    ("group", "missing", "message"),
    [
        ("PartType5", "Velocities", "/PartType5 has no velocity; expected Velocities or Velocity"),
        ("PartType0", "Coordinates", "/PartType0 has no position"),
    ],
)
def test_missing_fields_are_named(outputs, tmp_path, group, missing, message):
    groups = {"PartType0": dict(outputs.gas), "PartType5": dict(outputs.stars)}
    del groups[group][missing]
    with pytest.raises(ReaderError, match=rf"s_1.hdf5: {message}"):
        YTReader().read(outputs.write_gadget(tmp_path / "s_1.hdf5", **groups))


def test_a_file_that_breaks_later_is_refused_then(starforge):
    snapshot = YTReader().read(starforge)
    with h5py.File(starforge, "a") as file:
        del file["PartType0/Masses"]
    with pytest.raises(ReaderError, match=r"snapshot_004.hdf5: /PartType0 has no mass"):
        gas_of(snapshot)


@pytest.mark.shared_data
@pytest.mark.parametrize("number", [200, 350, 500, 750])
def test_starforge_masses_are_solar(shared_data, number):
    path = shared_data / f"snapshots/starforge/snapshot_{number}_stars.hdf5"
    star, sink = (YTReader(label_kind=kind).read(path).stars for kind in ("star", "sink"))
    with h5py.File(path) as file:
        group = {name: file[f"PartType5/{name}"][()] for name in ("BH_Mass", "Masses")}
    np.testing.assert_allclose(star["mass"].value, group["BH_Mass"], rtol=1e-3)  # 1.989e33 g is their solar mass
    np.testing.assert_allclose(sink["mass"].value, group["Masses"], rtol=1e-3)
    assert np.all(star["age"].value >= 0)
    assert 0.01 < np.median(star["mass"].value) < 10


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "h", "mass"),
    [("EAGLE", 0.6777, "Mass"), ("Magneticum", 0.704, "Mass"), ("IllustrisTNG", 0.6774, "Masses")],
)
def test_galaxies_have_masses_by_what_their_files_say(shared_data, name, h, mass):
    path = shared_data / f"snapshots/simspin/SimSpin_example_{name}.hdf5"
    snapshot = YTReader().read(path)
    with h5py.File(path) as file:
        code = file[f"PartType4/{mass}"][()]
        formed = next(values for field, values in file["PartType4"].items() if "FormationTime" in field)[()]
    np.testing.assert_allclose(snapshot.stars["mass"].value, code[formed > 0] * 1e10 / h, rtol=1e-3)
    assert snapshot.label_kind is None
    gas = gas_of(snapshot)
    assert len(gas["mass"]) == 100
    assert np.all((gas["size"] > 50) & (gas["size"] < 5e4))
