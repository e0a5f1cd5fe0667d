import os

import pytest

from stellarfm.exceptions import OutputExistsError
from stellarfm.output import check_output, new_directory, new_file


class Interrupted(Exception):
    pass


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_file_appears_on_success(tmp_path):
    with new_file(tmp_path / "masses.fits") as path:
        assert path.suffix == ".fits"
        assert not path.exists()
        path.write_text("new")
        assert not (tmp_path / "masses.fits").exists()
    assert (tmp_path / "masses.fits").read_text() == "new"
    assert everything(tmp_path) == ["masses.fits"]


def test_directory_appears_on_success(tmp_path):
    with new_directory(tmp_path / "model") as path:
        (path / "config.json").write_text("new")
        assert not (tmp_path / "model").exists()
    assert everything(tmp_path) == ["model", "model/config.json"]


@pytest.mark.parametrize("context", [new_file, new_directory])
def test_failure_leaves_nothing_not_even_missing_parents(tmp_path, context):
    with pytest.raises(Interrupted), context(tmp_path / "a" / "b" / "output") as path:
        (path / "part" if path.is_dir() else path).write_text("half")
        raise Interrupted
    assert everything(tmp_path) == []


def test_missing_parents_are_made_on_success(tmp_path):
    with new_file(tmp_path / "a" / "b" / "masses.ecsv") as path:
        path.write_text("new")
    assert (tmp_path / "a" / "b" / "masses.ecsv").read_text() == "new"


def test_failure_keeps_the_old_file(tmp_path):
    target = tmp_path / "masses.fits"
    target.write_text("old")
    with pytest.raises(Interrupted), new_file(target, overwrite=True) as path:
        path.write_text("half")
        raise Interrupted
    assert target.read_text() == "old"
    assert everything(tmp_path) == ["masses.fits"]


def test_failure_keeps_the_old_directory(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(Interrupted), new_directory(target, overwrite=True):
        raise Interrupted
    assert everything(tmp_path) == ["model", "model/old"]


def test_overwriting_replaces_the_whole_directory(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    with new_directory(target, overwrite=True) as path:
        (path / "new").touch()
    assert everything(tmp_path) == ["model", "model/new"]


@pytest.mark.parametrize("context", [new_file, new_directory])
def test_existing_output_is_refused_before_any_work(tmp_path, context):
    with pytest.raises(OutputExistsError, match="exists; choose another path or pass overwrite=True"):
        context(tmp_path).__enter__()


def test_file_and_directory_do_not_replace_each_other(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputExistsError, match="is a directory; give the path of a file"):
        new_file(tmp_path / "folder", overwrite=True).__enter__()
    with pytest.raises(OutputExistsError, match="is a file; give the path of a directory"):
        new_directory(tmp_path / "file", overwrite=True).__enter__()


def test_working_directory_is_never_replaced(tmp_path, monkeypatch):
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    for path in (".", tmp_path):
        with pytest.raises(OutputExistsError, match="working directory"):
            check_output(path, overwrite=True)


def test_parent_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OutputExistsError, match="notes.txt is not a directory"):
        check_output(tmp_path / "notes.txt" / "masses.fits")


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_outputs_have_ordinary_permissions(tmp_path):
    (tmp_path / "reference").mkdir()
    with new_directory(tmp_path / "model"):
        pass
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "reference").stat().st_mode
