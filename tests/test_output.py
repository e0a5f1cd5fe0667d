import errno
import os
import signal
import subprocess
import sys
import time
from multiprocessing import get_context

import pytest

from stellarfm.exceptions import OutputError, OutputExistsError
from stellarfm.output import RECORD, check_output, lock_output, new_directory, new_file, run_directory


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
    assert everything(tmp_path) == ["model", f"model/{RECORD}", "model/config.json"]


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


def directory_of_ours(path, *names):
    with new_directory(path) as folder:
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(name)
    return path


def test_failure_keeps_the_old_directory(tmp_path):
    target = directory_of_ours(tmp_path / "model", "old")
    with pytest.raises(Interrupted), new_directory(target, overwrite=True):
        raise Interrupted
    assert everything(tmp_path) == ["model", f"model/{RECORD}", "model/old"]


def test_overwriting_replaces_the_whole_directory(tmp_path):
    target = directory_of_ours(tmp_path / "model", "old", "deep/older")
    with new_directory(target, overwrite=True) as path:
        (path / "new").touch()
    assert everything(tmp_path) == ["model", f"model/{RECORD}", "model/new"]


def test_directories_replace_each_other_where_names_cannot_be_exchanged(tmp_path, monkeypatch):
    monkeypatch.setattr("stellarfm.output.ctypes.CDLL", lambda name, use_errno: object())
    target = directory_of_ours(tmp_path / "model", "old")
    with new_directory(target, overwrite=True) as path:
        (path / "new").touch()
    assert everything(tmp_path) == ["model", f"model/{RECORD}", "model/new"]


@pytest.mark.parametrize("name", ["notes.txt", "deep/notes.txt", ".hidden"])
def test_directory_with_foreign_files_is_named_and_refused(tmp_path, name):
    target = directory_of_ours(tmp_path / "model", "deep/config.json")
    (target / name).write_text("mine")
    for attempt in (check_output, lambda path, overwrite: new_directory(path, overwrite=overwrite).__enter__()):
        with pytest.raises(OutputExistsError, match=f"files that stellarfm did not write .{name}"):
            attempt(target, overwrite=True)
    assert (target / name).read_text() == "mine"


def test_directory_without_a_record_is_refused(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").touch()
    with pytest.raises(OutputExistsError, match=r"not written by stellarfm .*chapter1.tex"):
        check_output(tmp_path / "thesis", overwrite=True)
    (tmp_path / "thesis" / RECORD).write_text("[]")
    with pytest.raises(OutputExistsError, match="not written by stellarfm"):
        check_output(tmp_path / "thesis", overwrite=True)


def test_foreign_file_that_appears_meanwhile_is_kept(tmp_path):
    target = directory_of_ours(tmp_path / "model", "old")
    with pytest.raises(OutputExistsError, match="notes"), new_directory(target, overwrite=True):
        (target / "notes").touch()
    assert everything(tmp_path) == ["model", f"model/{RECORD}", "model/notes", "model/old"]


def test_link_in_a_directory_of_ours_is_foreign(tmp_path):
    target = directory_of_ours(tmp_path / "model", "config.json")
    (tmp_path / "data").write_text("mine")
    (target / "config.json").unlink()
    (target / "config.json").symlink_to(tmp_path / "data")
    with pytest.raises(OutputExistsError, match=r"did not write .config.json"):
        check_output(target, overwrite=True)


@pytest.mark.parametrize("context", [new_file, new_directory])
@pytest.mark.parametrize("kind", ["link to file", "link to folder", "link to nothing", "FIFO", "device"])
def test_links_and_devices_are_never_replaced(tmp_path, context, kind):
    target = tmp_path / "output"
    if kind == "FIFO":
        os.mkfifo(target)
    elif kind == "device":
        target = type(tmp_path)("/dev/null")
    else:
        goal = tmp_path / "goal"
        if kind == "link to file":
            goal.write_text("mine")
        elif kind == "link to folder":
            directory_of_ours(goal, "mine")
        target.symlink_to(goal)
    before = target.lstat()
    with pytest.raises(OutputExistsError, match="is a link|is a device, FIFO or socket"):
        context(target, overwrite=True).__enter__()
    with pytest.raises(OutputExistsError, match="exists"):
        context(target).__enter__()
    assert target.lstat().st_ino == before.st_ino


@pytest.mark.parametrize("context", [new_file, new_directory])
def test_existing_output_is_refused_before_any_work(tmp_path, context):
    with pytest.raises(OutputExistsError, match="exists; choose another path or pass overwrite=True"):
        context(tmp_path).__enter__()


def test_file_and_directory_do_not_replace_each_other(tmp_path):
    (tmp_path / "file").touch()
    directory_of_ours(tmp_path / "folder", "new")
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


@pytest.mark.parametrize("context", [new_file, new_directory])
def test_output_that_appears_meanwhile_is_not_replaced(tmp_path, context):
    target = tmp_path / "output"
    with pytest.raises(OutputExistsError, match="written by another process in the meantime"), context(target) as path:
        (path / "part" if path.is_dir() else path).write_text("mine")
        (target.mkdir(), (target / "theirs").touch()) if context is new_directory else target.write_text("theirs")
    assert everything(tmp_path) == (["output"] if context is new_file else ["output", "output/theirs"])
    if context is new_file:
        assert target.read_text() == "theirs"


def test_files_are_not_replaced_on_a_file_system_without_hard_links(tmp_path, monkeypatch):
    def no_links(*paths):
        raise PermissionError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", no_links)
    with new_file(tmp_path / "first") as path:
        path.write_text("first")
    assert (tmp_path / "first").read_text() == "first"
    with pytest.raises(OutputExistsError, match="meantime"), new_file(tmp_path / "second") as path:
        path.write_text("mine")
        (tmp_path / "second").write_text("theirs")
    assert (tmp_path / "second").read_text() == "theirs"


WRITE = """
import os, sys, time
from pathlib import Path
from stellarfm.exceptions import OutputExistsError
from stellarfm.output import {name}
print("ready", flush=True)
sys.stdin.readline()
try:
    with {name}(sys.argv[1], overwrite={overwrite}) as path:
        ((path / "part") if path.is_dir() else path).write_text(str(os.getpid()))
        time.sleep(0.3)
    print("wrote")
except OutputExistsError as error:
    print(error)
"""


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("context", [new_file, new_directory])
def test_two_processes_on_one_output(tmp_path, context, overwrite):
    target = tmp_path / "output"
    if overwrite:
        with context(target) as path:
            (path / "part" if path.is_dir() else path).write_text("old")
    command = [sys.executable, "-c", WRITE.format(name=context.__name__, overwrite=overwrite), target]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = sorted(process.communicate()[0].strip() for process in both)
    if overwrite and ends == ["wrote", "wrote"]:  # whole files, or one directory after the other
        pass
    else:
        assert ends[1] == "wrote"
        assert any(reason in ends[0] for reason in ("another process", "exists"))
        assert not (context is new_file and overwrite)
    content = (target / "part" if context is new_directory else target).read_text()
    assert content in {str(process.pid) for process in both}
    assert everything(tmp_path) in (["output"], ["output", f"output/{RECORD}", "output/part"])


HOLD = """
import sys, time
from stellarfm.output import {name}
with {name}(sys.argv[1]) as path:
    path is None or ((path / "part") if path.is_dir() else path).write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


def process_that_holds(name, path):
    process = subprocess.Popen([sys.executable, "-c", HOLD.format(name=name), path], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize("name", ["lock_output", "new_directory"])
def test_lock_names_its_process_and_ends_with_it(tmp_path, name):
    target = tmp_path / "model"
    process = process_that_holds(name, target)
    try:
        with pytest.raises(OutputExistsError, match=f"written by another process .process {process.pid} on "):
            new_directory(target).__enter__()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert (tmp_path / ".model.lock").exists()
    directory_of_ours(target, "config.json")
    assert everything(tmp_path) == ["model", f"model/{RECORD}", "model/config.json"]


def test_lock_is_held_once_by_a_process(tmp_path):
    with lock_output(tmp_path / "model"), lock_output(tmp_path / "model"):
        directory_of_ours(tmp_path / "model", "config.json")
        assert (tmp_path / ".model.lock").exists()
    assert not (tmp_path / ".model.lock").exists()


def test_forked_child_does_not_keep_the_lock(tmp_path):
    with lock_output(tmp_path / "model"):
        child = get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
    process = process_that_holds("new_directory", tmp_path / "model")  # would be refused
    for each in (child, process):
        each.kill()
    child.join()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("context", [new_file, new_directory])
def test_leftovers_of_killed_processes_are_removed(tmp_path, context):
    target = tmp_path / "output"
    process = process_that_holds(context.__name__, target)
    running = process_that_holds("new_file", tmp_path / "other")
    assert len(list(tmp_path.glob(".partial-*"))) == 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    with context(target) as path:
        (path / "part" if path.is_dir() else path).write_text("new")
    (left,) = tmp_path.glob(".*")
    assert left.name.startswith(".partial-other-")  # of a running process
    running.kill()
    running.wait()
    for each in (process, running):
        each.stdout.close()


def test_directory_of_a_process_killed_between_two_renames_is_restored(tmp_path):
    model = directory_of_ours(tmp_path / "model", "config.json")
    (tmp_path / ".partial-model-abcd1234").mkdir()
    model.rename(tmp_path / ".partial-model-abcd1234" / "old")
    with pytest.raises(OutputExistsError, match="exists"):
        directory_of_ours(model, "new")
    assert (model / "config.json").exists()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "x"),
        OSError(errno.EFBIG, "File too large"),
        RuntimeError("Can't decrement id ref count (unable to write, errno = 28, error message = '...')"),
        ValueError("I/O error: No space left on device (os error 28)"),
    ],
)
@pytest.mark.parametrize("context", [new_file, new_directory])
def test_full_disk_is_one_line(tmp_path, context, error):
    expected = pytest.raises(OutputError, match=f"output: no space left on device .* in {tmp_path}")
    with expected, context(tmp_path / "output"):
        raise error
    assert everything(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_directory_without_permission_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    for context in (new_file, new_directory):
        with pytest.raises(OutputError, match="cannot be written: .*Permission denied"):
            context(tmp_path / "output").__enter__()


def run(path, *, usable, fails=False, **options):
    def has_checkpoint(folder):
        return (folder / "1.ckpt").exists()

    with run_directory(path, patterns=["*.ckpt", "logs/*"], usable=has_checkpoint, **options) as folder:
        (folder / "logs").mkdir(exist_ok=True)
        (folder / "logs" / "log").touch()
        if usable:
            (folder / "1.ckpt").write_text(usable)
        if fails:
            raise Interrupted


def test_run_that_fails_before_it_is_usable_restores_the_old_one(tmp_path):
    run(tmp_path / "run", usable="first")
    with pytest.raises(Interrupted):
        run(tmp_path / "run", usable="", fails=True, overwrite=True)
    assert (tmp_path / "run" / "1.ckpt").read_text() == "first"
    with pytest.raises(Interrupted):
        run(tmp_path / "run", usable="second", fails=True, overwrite=True)
    assert (tmp_path / "run" / "1.ckpt").read_text() == "second"
    run(tmp_path / "run", usable="third", resume=True)
    assert (tmp_path / "run" / "1.ckpt").read_text() == "third"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_run_that_is_killed_before_it_is_usable_keeps_the_old_one(tmp_path):
    run(tmp_path / "run", usable="first")
    (tmp_path / "run").rename(tmp_path / ".replaced-run")  # as a killed run leaves it
    run(tmp_path / "run", usable="")
    assert (tmp_path / "run" / "1.ckpt").read_text() == "first"


def test_run_with_foreign_files_is_not_replaced(tmp_path):
    run(tmp_path / "run", usable="first")
    (tmp_path / "run" / "notes.txt").touch()
    with pytest.raises(OutputExistsError, match=r"did not write .notes.txt"):
        run(tmp_path / "run", usable="second", overwrite=True)
