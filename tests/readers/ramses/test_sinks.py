import numpy as np
import pytest
from astropy import units as u

from stellarfm.exceptions import InputNotFoundError, ReaderError
from stellarfm.readers.ramses.output import RamsesOutput, is_ramses

pytest.importorskip("f90nml", reason='needs f90nml: pip install "stellarfm[yt]"')

#: The code units of the outputs here: RAMSES takes 3.0857e18 cm for a parsec.
LENGTH, TIME = 3.0857e18 * u.cm, 3.15569260e13 * u.s
MASS = 1.50492957435e-20 * (u.g / u.cm**3) * LENGTH**3


@pytest.fixture
def output(outputs, tmp_path):
    """Make an output in which some words of its info file or list of sinks are replaced."""

    def make(name="output_00007", *, info=(), sinks=(), **options):
        texts = {
            "info": outputs.info.replace(*info) if info else outputs.info,
            "sinks": outputs.sinks.replace(*sinks) if sinks else outputs.sinks,
        }
        return RamsesOutput.find(outputs.write_ramses(tmp_path / name, **{**texts, **options}))

    return make


def test_sinks_have_units(output):
    sinks = output().sinks()
    assert sinks["star"].tolist() == [1, 4]
    expected = {
        "mass": [2.5e-4, 1e-2] * MASS,
        "x": [1.0, 4.0] * LENGTH,
        "z": [1.7, 2.0] * LENGTH,
        "vz": [-0.55, -1.0] * LENGTH / TIME,
        "age": [0.1, 0.3] * TIME,
        "accretion_rate": [7e-5, 0] * MASS / TIME,
    }
    for name, quantity in expected.items():
        np.testing.assert_allclose(sinks[name].value, quantity.to_value(sinks[name].unit), rtol=1e-9, err_msg=name)
    units = {name: str(sinks[name].unit) for name in ("mass", "x", "vx", "age")}
    assert units == {"mass": "solMass", "x": "pc", "vx": "km / s", "age": "Myr"}


def test_columns_are_found_by_name(outputs, output, tmp_path):
    rows = [line.strip(" #").split(",") for line in outputs.sinks.strip().splitlines()]
    backwards = "\n".join(",".join(row[::-1]) for row in rows)
    one = output().sinks()
    other = RamsesOutput.find(outputs.write_ramses(tmp_path / "output_00008", sinks=backwards)).sinks()
    for name in one.colnames:
        assert np.all(one[name] == other[name])


def test_no_sinks_and_no_list_of_sinks_differ(outputs, tmp_path):
    empty = "\n".join(outputs.sinks.splitlines()[:2]) + "\n"
    assert len(RamsesOutput.find(outputs.write_ramses(tmp_path / "a", sinks=empty)).sinks()) == 0
    assert RamsesOutput.find(outputs.write_ramses(tmp_path / "b", sinks=None)).sinks() is None


def test_directory_and_info_file_are_the_same(outputs, tmp_path):
    folder = outputs.write_ramses(tmp_path / "output_00007")
    assert is_ramses(folder)
    assert is_ramses(folder / "info_00007.txt")
    assert RamsesOutput.find(folder) == RamsesOutput.find(folder / "info_00007.txt")
    assert not is_ramses(folder / "namelist.txt")
    assert not is_ramses(tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("1,m,l,l,l", "1,m,pc,l,l"), r"column 'x' has unit 'pc'; expected 'l'"),
        (("# 1,m,l", "# 1,Msun,l"), r"column 'msink' has unit 'Msun'; expected 'm'"),
        (("msink", "mass"), "no rows of names"),
        (("3.5E+00", "4.1E+00"), "1 of 2 sinks lie outside the box of 4 code units"),
        (("3.5E+00", "many"), "not all values are numbers"),
        (("2.0E-01, 0.0E+00, 8", "2.0E"), "line 4 does not have 11 columns"),
    ],
)
def test_wrong_lists_are_refused(output, words, message):
    with pytest.raises(ReaderError, match=rf"sink_00007.csv: .*{message}"):
        output(sinks=words).sinks()


def test_an_info_file_that_breaks_off_is_refused(outputs, output, tmp_path):
    end = outputs.info[outputs.info.index("unit_t") + 25 :]
    with pytest.raises(ReaderError, match="unit_t missing; the file is truncated"):
        output(info=(end, ""))
    with pytest.raises(ReaderError, match="not a RAMSES output"):
        RamsesOutput.find(tmp_path)
    with pytest.raises(InputNotFoundError):
        RamsesOutput.find(tmp_path / "absent")


@pytest.mark.parametrize(
    ("namelist", "periodic"),
    [
        ("", (True, True, True)),
        ("&BOUNDARY_PARAMS\nnboundary=2\nibound_min=-1,1\nibound_max=-1,1\n/\n", (False, True, True)),
        (
            "&BOUNDARY_PARAMS\nnboundary=4\nibound_min=-1,+1,-1,-1\nibound_max=-1,+1,+1,+1\n"
            "jbound_min=2*0,-1,1\njbound_max=2*0,-1,1 ! closed\n/\n",
            (False, False, True),
        ),
        ("&boundary_params nboundary=2 jbound_min=-1,1 jbound_max=-1,1 bound_type=2*2 /", (True, False, True)),
        (
            "made by a script\n&RUN_PARAMS\nhydro=.true.\n/\n&BOUNDARY_PARAMS\n  nboundary = 4\n"
            "  ibound_min = 0, 0,\n     -1, 1\n  ibound_max = 0 0 -1 1\n  kbound_min(1:2) = -1, 1\n"
            "  kbound_max(1) = -1\n  kbound_max(2) = 1\n&END\n",
            (False, True, False),
        ),
        (
            "&BOUNDARY_PARAMS\nnboundary=2\nkbound_min(2)=1 ! the first is not set\nkbound_max=,1\n/\n",
            (True, True, False),
        ),
        ("&BOUNDARY_PARAMS\nnboundary=1\nibound_min=0,1\nibound_max=0,1 ! the second is not used\n/\n", (True,) * 3),
        ("&BOUNDARY_PARAMS\nnboundary=1\nibound_min=1\nibound_max=1\nbound_type=0\n/\n", (True,) * 3),
        ("&BOUNDARY_PARAMS nboundary=0 /\n&BOUNDARY_PARAMS nboundary=1 ibound_min=1 ibound_max=1 /\n", (True,) * 3),
        ("&OTHER\ntitle='ibound_min=1 ibound_max=1'\n! ibound_min=1\n/\n", (True,) * 3),
    ],
)
def test_boundaries_come_from_the_namelist(output, namelist, periodic):
    assert output(namelist=namelist).periodic == periodic


@pytest.mark.parametrize(
    "namelist", ["&BOUNDARY_PARAMS nboundary=1\nibound_min=1", "&A\nx='open\n/\n&BOUNDARY_PARAMS nboundary=1 /"]
)
def test_a_namelist_that_cannot_be_read_is_refused(output, namelist, capfd):
    with pytest.raises(ReaderError, match=r"namelist.txt: not a Fortran namelist .*give periodic"):
        output(namelist=namelist).periodic  # noqa: B018
    assert capfd.readouterr() == ("", "")


def test_ages_are_left_out_where_code_time_is_not_time(output):
    words = ("aexp        =  0.1", "aexp        =  0.05")
    assert "age" not in output(info=words).sinks().colnames
