import json
import logging
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.coordinates import SkyCoord

from stellarfm.encoders.weights import save_weights
from stellarfm.exceptions import (
    InputNotFoundError,
    MapError,
    ModelError,
    OutputExistsError,
    PluginError,
    UnknownPluginError,
)
from stellarfm.inference import ForestHead, KNNHead, MassFlag, Readout, StarConformal, StellarModel
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.inference.encoding.statistics import window_statistics
from stellarfm.inference.model_directory import config_text
from stellarfm.maps import MapScaler, MapSet


def flagged(table, flag):
    return (table["flags"] & flag) > 0


def test_masses_of_new_stars_are_right(fitted_model, cloud):
    new = cloud("three", seed=3)
    table = fitted_model.estimate(new)
    error = np.log10(table["mass"] / new.stars["mass"]).value
    assert np.sqrt(np.mean(error**2)) < 0.25
    assert fitted_model.head.cross_validation["cube"]["r2"] > 0.5
    assert table["mass"].unit == u.solMass


def test_intervals_hold_the_mass_and_are_nested(fitted_model, cloud):
    new = cloud("three", seed=3, n_stars=40, n_views=1)
    table = fitted_model.estimate(new, levels=(0.5, 0.9))
    true = new.stars["mass"]
    inside = (table["mass_lower_90"] <= true) & (true <= table["mass_upper_90"])
    assert inside.mean() > 0.75
    assert np.all(table["mass_lower_90"] <= table["mass_lower_50"])
    assert np.all(table["mass_upper_50"] <= table["mass_upper_90"])
    width = np.log10(table["mass_upper_50"] / table["mass_lower_50"]).value
    np.testing.assert_allclose(table["log_mass_error"], width / 2)
    assert table.meta["levels"] == "0.5 0.9"


def test_too_few_stars_for_a_level_is_said(fitted_model, cloud):
    table = fitted_model.estimate(cloud("three", seed=3), levels=(0.68, 0.99))
    assert flagged(table, MassFlag.UNBOUNDED_INTERVAL).all()
    assert np.all(table["mass_lower_99"] == 0)
    assert np.all(np.isinf(table["mass_upper_99"]))
    assert np.all(np.isfinite(table["mass_upper_68"]))
    assert not flagged(fitted_model.estimate(cloud("three", seed=3), levels=(0.68,)), MassFlag.UNBOUNDED_INTERVAL).any()


def test_stars_of_the_reference_set_are_flagged(fitted_model, cloud, caplog):
    known, new = cloud("one", seed=1), cloud("three", seed=3)
    with caplog.at_level(logging.WARNING, logger="stellarfm"):
        table = fitted_model.estimate(MapSet.concatenate([known, new]))
    assert flagged(table, MassFlag.IN_REFERENCE).tolist() == [True] * len(known) + [False] * len(new)
    assert "36 of 72 windows show stars of the reference set" in caplog.text


def test_missing_pixels_are_flagged(fitted_model, cloud):
    windows = cloud("three", seed=3)[:4]
    column = windows.column_density.copy()
    column[1, :8] = np.nan
    column[2, 12:20, 12:20] = np.nan
    column[3] = np.nan
    holed = MapSet(column, windows.velocity, windows.velocity_dispersion, windows.stars, windows.pixel_scale)
    table = fitted_model.estimate(holed)
    assert not any(flagged(table[:1], flag)[0] for flag in (MassFlag.LOW_COVERAGE, MassFlag.CENTRE_MISSING))
    np.testing.assert_allclose(table["coverage"], [1, 0.75, 1 - 64 / 1024, 0], rtol=1e-6)
    assert flagged(table, MassFlag.LOW_COVERAGE)[1]
    assert flagged(table, MassFlag.CENTRE_MISSING).tolist()[:3] == [False, False, True]
    assert table["flags"][3] == MassFlag.OUTSIDE_FIELD
    assert np.isnan(table["mass"][3])
    assert np.isnan(table["mass_upper_68"][3])
    assert np.isnan(table["ood"][3])
    assert not flagged(fitted_model.estimate(holed, min_coverage=0.5), MassFlag.LOW_COVERAGE)[1]


def test_hardly_any_pixels_give_no_mass(fitted_model, cloud):
    windows = cloud("three", seed=3)[:2]
    column = windows.column_density.copy()
    column[0, 2:] = np.nan
    column[1, 5:] = np.nan
    holed = MapSet(column, windows.velocity, windows.velocity_dispersion, windows.stars, windows.pixel_scale)
    table = fitted_model.estimate(holed)
    assert table["flags"][0] == MassFlag.TOO_FEW_PIXELS
    assert np.isnan(table["mass"]).tolist() == [True, False]


def test_strange_windows_are_out_of_distribution(fitted_model, cloud):
    new = cloud("three", seed=3)
    usual = fitted_model.estimate(new)
    assert flagged(usual, MassFlag.OUT_OF_DISTRIBUTION).mean() < 0.2
    rows = np.arange(32)[:, None] * np.ones(32)
    stripes = MapSet(
        new.column_density * 10 ** (2 * np.sin(rows)),
        new.velocity + 5 * np.cos(rows) * u.km / u.s,
        new.velocity_dispersion,
        new.stars,
        new.pixel_scale,
    )
    strange = fitted_model.estimate(stripes)
    assert flagged(strange, MassFlag.OUT_OF_DISTRIBUTION).all()
    assert strange["ood"].min() > usual["ood"].max()


def test_a_field_and_its_sources(fitted_model, field_with_stars):
    maps, stars = field_with_stars()
    table = fitted_model.estimate(maps, sources=stars)
    assert table.colnames[:3] == ["star", "ra", "dec"]
    assert np.all(np.diff(table["mass"]) > 0)
    np.testing.assert_allclose(np.log10(table["mass"] / stars["mass"]).value, 0, atol=0.5)
    assert not flagged(table, MassFlag.IN_REFERENCE).any()


def test_sources_outside_the_field_have_no_mass(fitted_model, field_with_stars):
    maps, stars = field_with_stars()
    places = SkyCoord([*stars["ra"], 70 * u.deg], [*stars["dec"], 27.5 * u.deg])
    table = fitted_model.estimate(maps, sources=places)
    assert np.isnan(table["mass"][3])
    assert table["flags"][3] == MassFlag.OUTSIDE_FIELD
    assert np.all(np.isfinite(table["mass"][:3]))


def test_without_sources_the_peaks_are_taken_and_said(fitted_model, field_with_stars, caplog):
    maps, _ = field_with_stars()
    with caplog.at_level(logging.INFO, logger="stellarfm"):
        table = fitted_model.estimate(maps)
    assert "peaks of the column density" in caplog.text
    np.testing.assert_allclose([table["x_pixel"][0], table["y_pixel"][0]], [70, 24], atol=2)


def test_windows_of_another_size_are_refused(fitted_model, cloud):
    with pytest.raises(ModelError, match=r"expects \(32, 32\)"):
        fitted_model.estimate(cloud(side=24))


def test_nothing_to_estimate(fitted_model, cloud):
    with pytest.raises(MapError, match="empty"):
        fitted_model.estimate(cloud()[:0])


def test_a_set_without_masses_cannot_be_fitted(cloud, tiny_encoder):
    windows = cloud()
    unlabelled = MapSet(
        windows.column_density, windows.velocity, windows.velocity_dispersion, windows.stars, windows.pixel_scale
    )
    with pytest.raises(ModelError, match="no label kind"):
        StellarModel.fit(unlabelled, encoder=tiny_encoder)


def test_calibration_by_simulation_needs_several(cloud, tiny_encoder):
    with pytest.raises(ModelError, match="by simulation needs two"):
        StellarModel.fit(cloud(n_stars=3), encoder=tiny_encoder, calibration_by="simulation")


def test_stars_or_simulations_are_held_out(cloud, tiny_encoder):
    windows = MapSet.concatenate([cloud("one", n_stars=3, seed=1), cloud("two", n_stars=3, seed=2)])
    assert StellarModel.fit(windows, encoder=tiny_encoder).head.calibration_by == "star"
    model = StellarModel.fit(windows, encoder=tiny_encoder, calibration_by="simulation")
    assert json.loads(model.provenance()["options"])["calibration"]["by"] == "simulation"


def test_held_out_simulations_do_not_set_the_scales(cloud, tiny_encoder, monkeypatch):
    windows = MapSet.concatenate(
        [cloud(name, n_stars=3, seed=seed) for seed, name in enumerate(["one", "two", "three"])]
    )
    fitted_on = []
    fit = MapScaler.fit

    def spy(self, mapset):
        fitted_on.append("".join(dict.fromkeys(name[0:2] for name in mapset.stars["simulation"])))
        return fit(self, mapset)

    monkeypatch.setattr(MapScaler, "fit", spy)
    StellarModel.fit(windows, encoder=tiny_encoder, calibration_by="simulation")
    assert sorted(fitted_on) == ["onth", "ontw", "ontwth", "twth"]


def deep(windows):
    """The same stars behind a foreground, with other noise."""
    scale = 2 + 0.5 * np.random.default_rng(9).normal(size=(len(windows), 1, 1))
    return replace(windows, column_density=windows.column_density * np.abs(scale), depth=4 * u.pc)


def test_windows_of_several_depths_in_one_model(cloud, tmp_path, caplog):
    sets = [cloud("one", seed=1), cloud("two", seed=2), deep(cloud("two", seed=2))]
    model = StellarModel.fit(sets, encoder=None, head=ForestHead(n_trees=20))
    assert model.head.summary()["windows_by_depth"] == {"cube": 72, "field": 36}
    assert model.head.summary()["stars"] == 24
    model.save(tmp_path / "model")
    loaded = StellarModel.load(tmp_path / "model")
    new = cloud("three", seed=3)
    with caplog.at_level(logging.INFO, logger="stellarfm"):
        tables = {depth: loaded.estimate(new, depth=depth) for depth in ("auto", "cube", "field")}
        assert loaded.estimate(deep(new)).meta["depth_class"] == "field"
    assert "assuming windows of depth 'cube'" in caplog.text
    assert [tables[depth].meta["depth_class"] for depth in tables] == ["cube", "cube", "field"]
    np.testing.assert_array_equal(tables["auto"]["mass"], tables["cube"]["mass"])
    assert np.median(tables["field"]["log_mass_error"]) > np.median(tables["cube"]["log_mass_error"])
    with pytest.raises(ModelError, match="choose 'cube' or 'field'"):
        loaded.estimate(new, depth="sky")


def test_a_field_is_taken_for_deep(fitted_model, field_with_stars, caplog):
    maps, stars = field_with_stars()
    table = fitted_model.estimate(maps, sources=stars)
    assert table.meta["depth_class"] == "field"
    assert "no windows of depth 'field'" in caplog.text


def test_a_model_without_an_encoder(cloud, tmp_path):
    model = StellarModel.fit(cloud(n_stars=4), encoder=None, head=ForestHead(n_trees=5))
    model.save(tmp_path / "model")
    loaded = StellarModel.load(tmp_path / "model")
    assert not (tmp_path / "model" / "encoder.safetensors").exists()
    np.testing.assert_array_equal(loaded.estimate(cloud())["mass"], model.estimate(cloud())["mass"])
    with pytest.raises(ModelError, match="has no encoder"):
        loaded.segment(cloud())
    with pytest.raises(ModelError, match="without an encoder"):
        FrozenEncoder.resolve(tmp_path / "model", image_size=32)
    with pytest.raises(ModelError, match="needs an encoder"):
        StellarModel.fit(cloud(n_stars=4), encoder=None, readout=Readout(pooling="class"))


def test_masses_from_statistics_load_no_torch(cloud, tmp_path):
    """Not even where the model has an encoder, for segments."""
    StellarModel.load()
    cloud(side=64).write(tmp_path / "maps.h5")
    code = (
        "import sys; from stellarfm.inference import StellarModel; from stellarfm.maps import MapSet;"
        f"StellarModel.load().estimate(MapSet.read({str(tmp_path / 'maps.h5')!r}));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("pooling", [("statistics", "class"), ("rings", "statistics")])
def test_statistics_stand_where_the_readout_names_them(cloud, tiny_encoder, pooling):
    windows = cloud(n_stars=4)
    model = StellarModel.fit(windows, encoder=tiny_encoder, readout=Readout(pooling=pooling), head=KNNHead())
    found, lengths = model.features(windows), model.embedder.block_lengths
    part = slice(0, 121) if pooling[0] == "statistics" else slice(lengths[0], None)
    assert found.shape[1] == sum(lengths)
    np.testing.assert_array_equal(found[:, part], window_statistics(windows))


def test_priors_quantiles_and_samples(fitted_model, cloud):
    new = cloud("three", seed=3)[:5]
    table = fitted_model.estimate(new, prior="kroupa", quantiles=(0.05, 0.5), samples=50, seed=2)
    assert table.meta["prior"] == "kroupa"
    assert np.all(table["mass_quantile_05"] < table["mass_quantile_50"])
    np.testing.assert_allclose(table["mass_quantile_50"], table["mass"])
    assert table["mass_samples"].shape == (5, 50)
    np.testing.assert_array_equal(
        table["mass_samples"], fitted_model.estimate(new, prior="kroupa", samples=50, seed=2)["mass_samples"]
    )
    assert np.all(np.abs(np.log10(np.median(table["mass_samples"], axis=1) / table["mass"])) < 0.3)
    with pytest.raises(ModelError, match="unknown prior"):
        fitted_model.estimate(new, prior="salpeter")


def test_the_distribution_is_that_of_the_table(fitted_model, cloud):
    new = cloud("three", seed=3)[:5]
    distribution, table = fitted_model.distribution(new), fitted_model.estimate(new)
    np.testing.assert_allclose(10 ** distribution.median(), table["mass"].value)
    np.testing.assert_allclose(10 ** distribution.mean(), table["mass_mean"].value)
    np.testing.assert_allclose(10 ** distribution.interval(0.9)[1], table["mass_upper_90"].value)


def test_analogues_are_windows_of_similar_mass(fitted_model, cloud):
    new = cloud("three", seed=3)
    found = fitted_model.analogues(new, n_analogues=2)
    assert len(found) == 2 * len(new)
    assert set(found["simulation"]) <= {"one", "two"}
    first = found[found["rank"] == 1]
    assert np.std(np.log10(first["mass"] / new.stars["mass"][first["source"]]).value) < 0.3


def test_unknown_encoder(cloud):
    with pytest.raises(UnknownPluginError, match="did you mean resnet18"):
        StellarModel.fit(cloud(), encoder="resnet81")


def test_saved_and_loaded_models_say_the_same(fitted_model, model_directory, cloud):
    new = cloud("three", seed=3)
    loaded = StellarModel.load(model_directory)
    one, other = fitted_model.estimate(new), loaded.estimate(new)
    for name in ("mass", "mass_lower_68", "mass_upper_68", "ood", "flags"):
        np.testing.assert_array_equal(one[name], other[name])
    assert loaded.head.cross_validation == fitted_model.head.cross_validation
    assert len(other.meta["model_sha256"]) == 64
    assert one.meta["model_sha256"] == "not saved"


def test_all_options_survive(cloud, tmp_path, tiny_encoder):
    model = StellarModel.fit(
        cloud(n_stars=4),
        encoder=tiny_encoder,
        scaler=MapScaler(column_reference="window"),
        readout=Readout(pooling=("class", "zooms"), n_rings=2, zooms=2, symmetries=False, mirror=True),
        head=KNNHead(n_components=3, n_neighbors=2, vote_by="star", standardize=True),
        conformal=StarConformal(residual_bandwidth=0.3, level_bandwidth=0.5, smoothing=0.05, residual_power=1.0),
    )
    model.save(tmp_path / "model")
    loaded = StellarModel.load(tmp_path / "model")
    assert loaded.provenance() == {**model.provenance(), "model_sha256": loaded.sha256}
    assert loaded.embedder.scaler.to_config() == model.embedder.scaler.to_config()
    assert loaded.embedder.encoder.options == {"image_size": 32}
    np.testing.assert_array_equal(loaded.features(cloud()), model.features(cloud()))


def test_each_part_of_a_readout_is_a_block(cloud, tiny_encoder):
    model = StellarModel.fit(
        cloud(n_stars=4),
        encoder=tiny_encoder,
        readout=Readout(pooling=("class", "zooms", "profiles"), zooms=2),
        head=KNNHead(n_components=3),
    )
    width = model.embedder.encoder.module.embed_dim
    blocks = model.embedder.readout.lengths(model.embedder.encoder.module, side=32)
    assert blocks[1] % (2 * width) == 0
    assert sum(blocks) == model.head.reference.features.shape[1]
    matrix = model.head.head.whitening_.matrix
    first, *_ = (np.flatnonzero(matrix[:, column]) for column in range(matrix.shape[1]))
    assert first.max() < blocks[0]  # a component uses the features of one part
    assert np.flatnonzero(matrix[:, -1]).min() >= sum(blocks[:-1])


def edit_config(directory, edit):
    """Change config.json as its author would: its hash fits again."""
    path = directory / "config.json"
    config = json.loads(path.read_text())
    edit(config)
    config.pop("config_sha256", None)
    if config.get("schema") == "stellarfm-model":
        config = json.loads(config_text({key: config[key] for key in config if not key.startswith("schema")})) | {
            "schema_version": config["schema_version"]
        }
    path.write_text(json.dumps(config))


def test_a_model_from_before_there_were_zooms(fitted_model, cloud, tmp_path):
    fitted_model.save(tmp_path / "model")
    edit_config(tmp_path / "model", lambda config: config["readout"].pop("zooms"))
    loaded = StellarModel.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.features(cloud()), fitted_model.features(cloud()))
    np.testing.assert_array_equal(loaded.estimate(cloud())["mass"], fitted_model.estimate(cloud())["mass"])


def test_fitting_twice_gives_the_same_files(cloud, tmp_path, tiny_encoder):
    windows = cloud(n_stars=4)
    one, other = (
        StellarModel.fit(windows, encoder=tiny_encoder, seed=1).save(tmp_path / name) for name in ("one", "other")
    )
    assert one.sha256 == other.sha256
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()
    assert StellarModel.fit(windows, encoder=tiny_encoder, seed=2).save(tmp_path / "third").sha256 != one.sha256


def test_a_pretrained_encoder_is_found_by_directory_or_file(cloud, tmp_path, tiny_encoder):
    encoder = FrozenEncoder.random(tiny_encoder, image_size=32, seed=9)
    run = tmp_path / "run"
    save_weights(encoder.module, run / "encoder.safetensors")
    training = {"steps": 10, "dataset": "flames"}
    (run / "encoder.json").write_text(
        json.dumps({"encoder": tiny_encoder, "options": {"image_size": 32}, "training": training})
    )
    for choice in (run, run / "encoder.safetensors"):
        model = StellarModel.fit(cloud(n_stars=3), encoder=choice, readout=Readout(pooling="zooms"))
        assert model.embedder.encoder.training == training
        np.testing.assert_array_equal(model.features(cloud()), self_made(cloud, encoder.half_precision(), model))
    assert "pretrained" in model.card()


def self_made(cloud, encoder, model):
    return model.embedder.readout.extract(encoder.module, model.embedder.scaler.transform(cloud()))


@pytest.mark.parametrize(
    ("record", "error", "match"),
    [
        (None, InputNotFoundError, "encoder.json: no such file"),
        ("not json", ModelError, "encoder.json names no encoder"),
        ("[]", ModelError, "encoder.json names no encoder"),
        ('{"options": {}}', ModelError, "encoder.json names no encoder"),
    ],
)
def test_a_directory_that_is_no_pretraining_run(tmp_path, record, error, match):
    (tmp_path / "encoder.safetensors").write_bytes(b"")
    if record is not None:
        (tmp_path / "encoder.json").write_text(record)
    with pytest.raises(error, match=match):
        FrozenEncoder.resolve(tmp_path, image_size=32)


def test_random_weights_leave_the_global_state_alone(tiny_encoder):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    FrozenEncoder.random(tiny_encoder, image_size=32)
    assert torch.rand(1) == expected


def test_the_directory_holds_what_the_design_says(model_directory):
    assert sorted(path.name for path in model_directory.iterdir()) == [
        ".stellarfm.json",
        "README.md",
        "config.json",
        "encoder.safetensors",
        "head.safetensors",
        "reference.fits",
    ]
    config = json.loads((model_directory / "config.json").read_text())
    assert config["label_kind"] == "sink"
    assert config["encoder"]["name"] == "test.tiny"
    assert config["reference"]["stars"] == 24
    assert config["reference"]["simulations"] == ["one", "two"]
    assert "24 stars" in (model_directory / "README.md").read_text()


def copy_of(directory, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in directory.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def test_the_encoder_of_a_model_and_the_default_one_are_found(fitted_model, model_directory):
    found = FrozenEncoder.resolve(model_directory, image_size=32)
    assert (found.name, found.options) == (fitted_model.embedder.encoder.name, fitted_model.embedder.encoder.options)
    ours = fitted_model.embedder.encoder.module.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in found.module.state_dict().items())
    assert (
        FrozenEncoder.resolve("bundled", image_size=64).training == StellarModel.load().embedder.encoder.training != {}
    )


@pytest.mark.parametrize("name", ["encoder.safetensors", "head.safetensors", "reference.fits"])
def test_altered_files_are_refused(model_directory, tmp_path, name):
    copy = copy_of(model_directory, tmp_path)
    data = bytearray((copy / name).read_bytes())
    data[-3000] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(ModelError, match=f"{name} was altered"):
        StellarModel.load(copy)


@pytest.mark.parametrize("name", ["encoder.safetensors", "head.safetensors", "reference.fits", "config.json"])
def test_missing_files_are_named(model_directory, tmp_path, name):
    copy = copy_of(model_directory, tmp_path)
    (copy / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is missing"):
        StellarModel.load(copy)


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda c: c.pop("scaler"), "lacks scaler"),
        (lambda c: c["files"].pop("reference.fits"), "lacks hashes"),
        (lambda c: c.update(schema="other"), "has schema 'other'"),
        (lambda c: c.update(schema_version=99), "99"),
        (lambda c: c.update(schema_version=1), "schema version 1, whose head .*fit the model again"),
        (lambda c: c["files"].update({"../other": "0"}), "unknown file"),
        (lambda c: c["encoder"].pop("options"), "incomplete or wrong"),
        (lambda c: c["head_options"].update(surprise=1), "no option 'surprise'"),
        (lambda c: c["calibration"].update(surprise=1), "incomplete or wrong"),
        (lambda c: c.update(head="oracle"), "unknown head 'oracle'"),
        (lambda c: c.update(files=None), "lacks hashes"),
        (lambda c: c["windows"].update(pixels="many"), "incomplete or wrong"),
    ],
)
def test_configurations_that_cannot_be_used(model_directory, tmp_path, edit, match):
    copy = copy_of(model_directory, tmp_path)
    edit_config(copy, edit)
    with pytest.raises((ModelError, PluginError), match=match):
        StellarModel.load(copy)


def test_an_altered_configuration_is_refused(model_directory, tmp_path):
    copy = copy_of(model_directory, tmp_path)
    text = (copy / "config.json").read_text()
    (copy / "config.json").write_text(text.replace('"smoothing": 0.03', '"smoothing": 0.01'))
    with pytest.raises(ModelError, match=r"config\.json was altered"):
        StellarModel.load(copy)


def test_a_configuration_that_is_no_json(model_directory, tmp_path):
    copy = copy_of(model_directory, tmp_path)
    (copy / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json is not the configuration"):
        StellarModel.load(copy)


def test_no_such_directory(tmp_path):
    with pytest.raises(InputNotFoundError, match="no such model directory"):
        StellarModel.load(tmp_path / "nothing")


def test_existing_directories_are_kept(fitted_model, model_directory, tmp_path):
    copy = copy_of(model_directory, tmp_path)
    with pytest.raises(OutputExistsError):
        fitted_model.save(copy)
    fitted_model.save(copy, overwrite=True)
    assert StellarModel.load(copy).sha256 == StellarModel.load(model_directory).sha256


def test_models_and_their_parts_print_in_a_few_lines(fitted_model, model_directory, cloud):
    loaded, segmentation = StellarModel.load(model_directory), fitted_model.segment(cloud("three", seed=3)[:4])
    for printed in (repr(fitted_model), repr(loaded), repr(segmentation), repr(fitted_model.head)):
        assert len(printed) < 600
        assert printed.count("\n") < 5
    assert "test.tiny" in repr(loaded)
    assert "not saved" in repr(fitted_model)
    assert loaded.sha256[:16] in repr(loaded)
    assert "6 segments" in repr(segmentation)
