import hashlib
from pathlib import Path

import pytest

from stellarfm.readers.common.run_identity import SMALL, file_hashes, run_name, snapshot_number


def test_small_files_are_hashed_and_all_are_listed(tmp_path):
    (tmp_path / "info.txt").write_text("unit_l = 1\n")
    (tmp_path / "hydro.out00001").write_bytes(bytes(SMALL + 1))
    hashes = file_hashes(tmp_path.iterdir())
    assert hashes["sha256 info.txt"] == hashlib.sha256(b"unit_l = 1\n").hexdigest()
    assert "sha256 hydro.out00001" not in hashes
    assert hashes["files"].startswith(f"2 files, {SMALL + 12} bytes")
    (tmp_path / "hydro.out00001").write_bytes(bytes(SMALL + 2))
    assert file_hashes(tmp_path.iterdir())["files"] != hashes["files"]


def test_headers_come_before_pieces_of_data(tmp_path):
    for i in range(20):
        (tmp_path / f"part_00001.out{i:05d}").write_text("x")
    (tmp_path / "namelist.txt").write_text("long " * 100)
    hashes = file_hashes(tmp_path.iterdir())
    assert "sha256 namelist.txt" in hashes
    assert len(hashes) == 9


@pytest.mark.parametrize(
    ("path", "run", "number"),
    [
        ("run/output_00007", "run", 7),
        ("run/DD0010/moving7_0010", "run", 10),
        ("run/snapdir_003/snap_003.0.hdf5", "run", 3),
        ("starforge/snapshot_500_stars.hdf5", "starforge", 500),
        ("run/cloud.out1.00012.athdf", "run", 12),
        ("run/sloshing_hdf5_plt_cnt_0100", "run", 100),
        ("galaxies/EAGLE.hdf5", "galaxies", "EAGLE"),
    ],
)
def test_names_of_outputs_tell_run_and_number(tmp_path, path, run, number):
    assert run_name(tmp_path / path) == run
    assert snapshot_number(Path(path)) == number
