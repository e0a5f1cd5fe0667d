import argparse
import logging
import subprocess
import sys

import pytest

import stellarfm
from stellarfm.cli import common, main
from stellarfm.exceptions import MapError


@pytest.fixture
def command(monkeypatch):
    """Let the program have one command, ``try``, that calls a function."""

    def install(function):
        parser = argparse.ArgumentParser(prog="stellarfm")
        parser.add_argument("--traceback", action="store_true")
        parser.add_argument("--quiet", action="store_true")
        parser.set_defaults(run=function)
        monkeypatch.setattr(main, "build_parser", lambda: parser)

    return install


def failing(error):
    def run(args):
        raise error

    return run


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as leaving:
        main.main([name, "--help"])
    assert leaving.value.code == 0
    assert f"usage: stellarfm {name}" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main.main(["--version"])
    assert capsys.readouterr().out.strip() == f"stellarfm {stellarfm.__version__}"


@pytest.mark.parametrize("argv", [[], ["no-such-command"], ["plugins", "--no-such-option"]])
def test_wrong_usage_leaves_with_2(argv, capsys):
    with pytest.raises(SystemExit) as leaving:
        main.main(argv)
    assert leaving.value.code == 2
    assert "usage: stellarfm" in capsys.readouterr().err


@pytest.mark.parametrize("error", [MapError("maps.h5: wrong\n  unit; do this"), PermissionError(13, "no", "maps.h5")])
def test_error_of_the_input_is_one_line_and_1(command, capsys, error):
    command(failing(error))
    assert main.main([]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    assert line.startswith("stellarfm: error: ")
    assert "maps.h5" in line


def test_traceback_on_request(command):
    command(failing(MapError("wrong")))
    with pytest.raises(MapError, match="wrong"):
        main.main(["--traceback"])


def test_errors_of_ours_are_not_hidden(command):
    command(failing(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        main.main([])


def test_interruption_leaves_with_130(command, capsys):
    command(failing(KeyboardInterrupt()))
    assert main.main([]) == 130
    assert capsys.readouterr().err == "stellarfm: interrupted\n"


def test_closed_pipe_is_no_error():
    code = """
import sys
from stellarfm import registry
from stellarfm.cli.main import main
registry.plugins = lambda: []
sys.exit(main(["plugins"]))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("options", "shown"), [([], "stellarfm: zeros\nstellarfm: odd\n"), (["--quiet"], "stellarfm: odd\n")]
)
def test_log_goes_to_stderr(command, capsys, options, shown):
    def run(args):
        logging.getLogger("stellarfm.maps").info("zeros")
        logging.getLogger("stellarfm.maps").warning("odd")

    command(run)
    assert main.main(options) == 0
    assert main.main(options) == 0
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", 2 * shown)


COMMAND = """
from stellarfm.contracts import Command
from stellarfm.exceptions import MapError


class Shout(Command):
    def add_arguments(self, parser):
        parser.description = "Shout."
        parser.add_argument("word")

    def run(self, args):
        if args.word == "nothing":
            raise MapError("nothing to shout; give a word")
        print(args.word.upper())
"""


def test_command_of_a_plugin_is_listed_without_being_imported(distribution, capsys):
    distribution("acme", version="1.2", commands={"acme.shout": "acme_shout:Shout"}, modules={"acme_shout": "1 / 0"})
    with pytest.raises(SystemExit, match="0"):
        main.main(["--help"])
    assert "acme.shout from acme==1.2" in " ".join(capsys.readouterr().out.split())
    assert "acme_shout" not in sys.modules


def test_command_of_a_plugin_runs_like_any_other(distribution, capsys):
    distribution("acme", commands={"acme.shout": "acme_shout:Shout"}, modules={"acme_shout": COMMAND})
    assert main.main(["acme.shout", "hello"]) == 0
    assert capsys.readouterr().out == "HELLO\n"
    assert main.main(["acme.shout", "nothing"]) == 1
    assert capsys.readouterr().err == "stellarfm: error: nothing to shout; give a word\n"
    with pytest.raises(SystemExit, match="0"):
        main.main(["acme.shout", "--help"])
    assert capsys.readouterr().out.startswith("usage: stellarfm acme.shout [-h] word\n\nShout.")
    with pytest.raises(SystemExit, match="2"):
        main.main(["acme.shout"])


def test_broken_command_of_a_plugin_is_one_line_and_1(distribution, capsys):
    distribution("acme", commands={"acme.shout": "acme_shout:Shout"}, modules={"acme_shout": "1 / 0"})
    assert main.main(["acme.shout", "hello"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stellarfm: error: plugin 'acme.shout' of acme==1.0 (stellarfm.commands) cannot be loaded")


def test_command_that_two_packages_offer_is_one_line_and_1(distribution, capsys):
    for name in ("acme", "bolt"):
        distribution(name, commands={"acme.shout": "acme_shout:Shout"})
    assert main.main(["acme.shout", "hello"]) == 1
    assert "'acme.shout' is provided by acme==1.0 and bolt==1.0; uninstall one" in capsys.readouterr().err


def test_command_of_a_plugin_never_replaces_one_of_ours(distribution, capsys):
    distribution("acme", commands={"plugins": "acme_shout:Shout"}, modules={"acme_shout": "1 / 0"})
    with pytest.raises(SystemExit, match="0"):
        main.main(["plugins", "--help"])
    assert "list of objects" in capsys.readouterr().out


OPTIONS = {
    "column_species": "--column-species",
    "label_kind": "--mass-kind",
    "reader": "--reader",
    "resume": "--resume",
}


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("give column_species or label_kind", "give --column-species or --mass-kind"),
        ("column_species='H2' is needed", "--column-species 'H2' is needed"),
        ("column_species=H2", "--column-species H2"),
        ("choose a reader= with it; pass resume=True.", "choose a --reader with it; pass --resume."),
        ("give reader=, or `resume` or ``label_kind``", "give --reader, or --resume or --mass-kind"),
        ("the reader can resume", "the reader can resume"),
        ("my_column_species, column_species_2", "my_column_species, column_species_2"),
        ("/data/label_kind.h5: label_kind.h5 a.label_kind", "/data/label_kind.h5: label_kind.h5 a.label_kind"),
        (
            "/label_kind/a label_kind/a 'label_kind' \"reader='a'\"",
            "/label_kind/a label_kind/a 'label_kind' \"reader='a'\"",
        ),
        ("reader==3; --column-species", "reader==3; --column-species"),
        ("it was label_kind.", "it was --mass-kind."),
    ],
)
def test_messages_name_options_in_place_of_arguments(message, shown):
    assert common.name_options(message, OPTIONS) == shown
    assert common.name_options(message, {}) == message


def test_option_names_come_from_the_parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("maps")
    parser.add_argument("-o", "--output", "--out")
    parser.add_argument("--mass-kind", dest="label_kind")
    parser.add_argument("-k", type=int)
    assert common.option_names(parser) == {"help": "--help", "output": "--output", "label_kind": "--mass-kind"}


def test_errors_and_logs_of_a_command_name_its_options(distribution, capsys):
    distribution("acme", commands={"acme.shout": "acme_shout:Shout"}, modules={"acme_shout": OPTION_COMMAND})
    assert main.main(["acme.shout", "loudly"]) == 1
    log, error = capsys.readouterr().err.splitlines()
    assert log == "stellarfm: no --mass-kind was given"
    assert error == "stellarfm: error: nothing to shout; give --word or --mass-kind"


OPTION_COMMAND = """
import logging
from stellarfm.contracts import Command
from stellarfm.exceptions import MapError


class Shout(Command):
    def add_arguments(self, parser):
        loud = parser.add_subparsers().add_parser("loudly")
        loud.add_argument("--word")
        loud.add_argument("--mass-kind", dest="label_kind")

    def run(self, args):
        logging.getLogger("stellarfm").warning("no label_kind was given")
        raise MapError("nothing to shout; give word= or label_kind")
"""


def test_say_is_silent_when_asked(capsys):
    common.say("words", argparse.Namespace(quiet=False))
    common.say("nothing", argparse.Namespace(quiet=True))
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "words\n")


def test_existing_file_names_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="maps.h5: no such file; check the path"):
        common.existing_file(tmp_path / "maps.h5")
    assert common.existing_file(str(tmp_path)) == tmp_path
