"""Fixtures shared by the tests of all packages."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tensors are tiny in tests: more threads are slower


def pytest_report_header() -> str:
    """Return the version and folder of the installation under test, which may differ from the clone."""
    import stellarfm

    return f"stellarfm: {stellarfm.__version__} in {Path(stellarfm.__file__).parent}"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of observed and simulated maps, or skip the test."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STELLARFM_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder} (set STELLARFM_SHARED_DATA to their folder)")
    return folder


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Return a function that installs a simulated distribution with plugins for the duration of a test.

    ``distribution("acme", version="1.2", datasets={"acme.blank": "module:Class"}, modules={"module": "source"})``
    """
    pretended = set()

    def install(name, *, version="1.0", modules=None, folder=None, **groups):
        folder = folder or tmp_path / "pretended"
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = []
        for group, entries in groups.items():
            lines += [f"[stellarfm.{group}]", *(f"{key} = {value}" for key, value in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for module, source in (modules or {}).items():
            (folder / f"{module}.py").write_text(source)
            pretended.add(module)
        monkeypatch.syspath_prepend(folder)

    yield install
    for module in pretended:
        sys.modules.pop(module, None)


def _cloud(simulation, *, n_stars, n_views, side, seed):
    """Windows of 0.25 pc whose central column density rises with the mass of the star, and nothing else does."""
    from astropy import units as u
    from astropy.table import QTable

    from stellarfm.maps import MapSet

    rng = np.random.default_rng(seed)
    mass = np.repeat(10 ** rng.uniform(-1, 1, n_stars), n_views)
    column, velocity, dispersion = _around(mass, rng, side)
    stars = QTable({"star": np.repeat(np.arange(n_stars), n_views), "axis": np.tile(np.arange(n_views), n_stars)})
    stars["mass"] = mass * u.solMass
    return MapSet(
        column_density=column.astype(np.float32) * u.cm**-2,
        velocity=velocity.astype(np.float32) * u.km / u.s,
        velocity_dispersion=dispersion.astype(np.float32) * u.km / u.s,
        stars=stars,
        pixel_scale=4 / 512 * u.pc,
        depth=0.25 * u.pc,
        label_kind="sink",
        simulation=simulation,
        provenance="made in a test",
    )


def _around(mass, rng, side):
    """Column density, velocity and dispersion around stars of these masses, each (N, side, side)."""
    offset = np.hypot(*np.meshgrid(*2 * [np.arange(side) - side // 2]))
    bump = mass[:, None, None] * np.exp(-((offset / (side / 6)) ** 2) / 2)
    noise = rng.normal(0, 0.02, (3, len(mass), side, side))
    return 1e22 * (1 + 10 * bump) * 10 ** noise[0], noise[1], 0.3 + 0.1 * noise[2]


@pytest.fixture(scope="session")
def cloud():
    """Make a small map set in which column density tells the mass: ``cloud("one", seed=1)``."""

    def make(simulation="one", *, n_stars=12, n_views=3, side=32, seed=0):
        return _cloud(simulation, n_stars=n_stars, n_views=n_views, side=side, seed=seed)

    return make


@pytest.fixture(scope="session")
def field_with_stars():
    """Make a field of 96 x 80 pixels with stars like those of `cloud`: ``maps, stars = field_with_stars()``."""
    from astropy import units as u
    from astropy.table import QTable
    from astropy.wcs import WCS

    from stellarfm.maps import GasMaps

    def make(*, mass=(0.2, 1.0, 6.0), scale=4 / 512, missing=0, seed=5):
        rng = np.random.default_rng(seed)
        x, y = np.array([20.0, 48.0, 70.0]), np.array([20.0, 60.0, 24.0])
        grid_y, grid_x = np.indices((80, 96))
        bump = sum(
            m * np.exp(-((grid_x - i) ** 2 + (grid_y - j) ** 2) / (2 * (32 / 6) ** 2)) for m, i, j in zip(mass, x, y)
        )
        noise = rng.normal(0, 0.02, (3, 80, 96))
        column = 1e22 * (1 + 10 * bump) * 10 ** noise[0]
        column[:, :missing] = np.nan
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.cunit = ["RA---TAN", "DEC--TAN"], ["deg", "deg"]
        wcs.wcs.crval, wcs.wcs.crpix = (65.0, 27.5), (48.5, 40.5)
        angle = np.degrees(scale / 140)
        wcs.wcs.cdelt = -angle, angle
        maps = GasMaps(
            column_density=column * u.cm**-2,
            velocity=noise[1] * u.km / u.s,
            velocity_dispersion=(0.3 + 0.1 * noise[2]) * u.km / u.s,
            wcs=wcs,
            distance=140 * u.pc,
        )
        ra, dec = wcs.pixel_to_world_values(x, y)
        return maps, QTable(
            {"star": [1, 2, 3], "ra": ra * u.deg, "dec": dec * u.deg, "mass": np.array(mass) * u.solMass}
        )

    return make


TINY_ENCODER = """
import torch

from stellarfm.contracts import Encoder, Features


class Tiny(torch.nn.Module, Encoder):
    embed_dim, patch_size = 16, 8

    def __init__(self, *, in_channels=3, image_size=32):
        super().__init__()
        self.in_channels = in_channels
        self.patch = torch.nn.Conv2d(in_channels, 16, 8, stride=8)

    def encode(self, images, *, mask=None):
        patches = torch.nn.functional.gelu(self.patch(images)).permute(0, 2, 3, 1)
        middle = patches.shape[1] // 2
        return Features(patches[:, middle - 1 : middle + 1, middle - 1 : middle + 1].mean(dim=(1, 2)), patches)
"""


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory):
    """Name of an encoder that a pretended third party offers: one convolution; quick."""
    folder = tmp_path_factory.mktemp("tiny")
    info = folder / "tiny-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[stellarfm.encoders]\ntest.tiny = tiny_encoder_of_the_tests:Tiny\n")
    (folder / "tiny_encoder_of_the_tests.py").write_text(TINY_ENCODER)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield "test.tiny"


@pytest.fixture(scope="session")
def fitted_model(cloud, tiny_encoder):
    """A model of a small random encoder on two small clouds."""
    from stellarfm.inference import KNNHead, Readout, StellarModel
    from stellarfm.maps import MapSet

    windows = MapSet.concatenate([cloud("one", seed=1), cloud("two", seed=2)])
    return StellarModel.fit(
        windows,
        encoder=tiny_encoder,
        readout=Readout(),
        head=KNNHead(n_components=8, n_neighbors=3, vote_by="star"),
        calibration_by="star",
    )


@pytest.fixture(scope="session")
def model_directory(fitted_model, tmp_path_factory):
    """`fitted_model` on disk."""
    path = tmp_path_factory.mktemp("model") / "model"
    fitted_model.save(path)
    return path


@pytest.fixture(scope="session")
def make_snapshot():
    """Make a periodic box of 1 pc of 12^3 cells, with stars 1, 2, ... on its diagonal: ``make_snapshot(n_stars=3)``."""
    from astropy import units as u
    from astropy.table import QTable

    from stellarfm.simulations import InMemoryGas, Snapshot

    def make(*, n_stars=2, number=7, simulation="run", kind="cells", seed=0, side=12, thermal=True):
        along = np.linspace(0.3, 0.7, n_stars) * u.pc
        masses = np.geomspace(0.05, 3, n_stars) * u.solMass
        return Snapshot(
            stars=QTable({"star": np.arange(1, n_stars + 1), "mass": masses, "x": along, "y": along, "z": along}),
            gas=InMemoryGas(_cells(side, seed, thermal), kind),
            lower=np.zeros(3) * u.pc,
            upper=np.ones(3) * u.pc,
            periodic=(True, True, True),
            time=0.5 * u.Myr,
            label_kind="sink",
            simulation=simulation,
            snapshot=number,
            provenance={"code": "made in a test"},
        )

    return make


def _cells(side, seed, thermal):
    """Equal cells of 300 solar masses together, that fill a box of 1 pc."""
    from stellarfm.simulations import GasBlock

    rng = np.random.default_rng(seed)
    centres = (np.arange(side) + 0.5) / side
    position = np.stack(np.meshgrid(centres, centres, centres, indexing="ij"), axis=-1).reshape(-1, 3)
    count = len(position)
    return GasBlock(
        position=position,
        size=np.full(count, 1 / side),
        mass=rng.uniform(0.5, 1.5, count) * 300 / count,
        velocity=rng.normal(0, 1, (count, 3)),
        thermal=np.full(count, 0.19) if thermal else None,
    )
