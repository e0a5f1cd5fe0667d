"""What is loaded when, and who may know whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import stellarfm

PACKAGE = Path(stellarfm.__file__).parent
HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "lightning",
    "yt",
    "astropy",
    "matplotlib",
    "sklearn",
    "scipy",
    "numba",
    "h5py",
}

#: Wing -> the other wings, or single modules of them, that it may import, at the top or inside a function.
BASE = {"exceptions", "output", "parallel", "provenance", "contracts", "registry"}
MAY_IMPORT = {
    **dict.fromkeys(BASE, BASE),
    "testing": BASE | {"maps", "simulations"},
    "maps": BASE,
    "simulations": BASE | {"maps"},
    "readers": BASE | {"maps", "simulations"},
    "batch": BASE | {"maps", "simulations", "readers"},
    "fractals": BASE,
    "encoders": BASE,
    "pretraining": BASE | {"encoders.weights"},
    "data": set(),
    "inference": BASE | {"maps", "data", "encoders.weights", "encoders.batch_norm"},
    "evaluation": BASE | {"maps", "inference"},
    "plotting": BASE | {"maps", "inference"},
}
WITHOUT_ASTROPY = {*BASE, "fractals", "encoders", "pretraining"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def loaded_by(code):
    """Top-level packages in `sys.modules` of a fresh interpreter after running `code`."""
    code = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def imported_by(module):
    """Full names of all that a module imports, wherever in it."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    package = ("stellarfm", *module.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            source = ".".join([*start, *filter(None, [node.module])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def is_within(name, scope):
    """Whether a full name such as ``stellarfm.maps.units.clean_unit`` lies in a wing or module of stellarfm."""
    return f"{name}.".startswith(f"stellarfm.{scope}.")


def wing_of_module(module):
    parts = module.relative_to(PACKAGE).with_suffix("").parts
    return None if parts == ("__init__",) else parts[0]


def name_of(module):
    return str(module.relative_to(PACKAGE))


def test_importing_the_package_is_light():
    assert not loaded_by("import stellarfm") & {*HEAVY, "numpy"}


def test_help_is_light():
    code = "from stellarfm.cli.main import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    assert not loaded_by(code) & {*HEAVY, "numpy"}


def test_base_needs_no_torch():
    assert not loaded_by("import stellarfm.contracts, stellarfm.registry, stellarfm.output") & HEAVY


@pytest.mark.parametrize("wing", ["fractals.datasets", "encoders.vit", "pretraining.training"])
def test_what_pretrains_runs_without_astropy(wing):
    assert "astropy" not in loaded_by(f"import stellarfm.{wing}")


def test_public_names_resolve():
    for name in stellarfm.__all__:
        assert getattr(stellarfm, name) is not None
    assert set(stellarfm.__all__) <= set(dir(stellarfm))
    with pytest.raises(AttributeError, match="no attribute 'GasMap'"):
        stellarfm.GasMap  # noqa: B018


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_imports_run_one_way(module):
    wing = wing_of_module(module)
    if wing in (None, "cli"):
        return
    assert wing in MAY_IMPORT, f"{wing} is a new wing: say in MAY_IMPORT what it may know"
    others = {other for other in (*MAY_IMPORT, "cli") if other != wing}
    foreign = {name for name in imported_by(module) if any(is_within(name, other) for other in others)}
    wrong = {name for name in foreign if not any(is_within(name, scope) for scope in MAY_IMPORT[wing])}
    assert not wrong, f"{name_of(module)} must not import {', '.join(wrong)}"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_what_pretrains_never_imports_astropy(module):
    if wing_of_module(module) in WITHOUT_ASTROPY:
        assert "astropy" not in {name.partition(".")[0] for name in imported_by(module)}


@pytest.mark.parametrize("module", sorted((PACKAGE / "cli").glob("*.py")), ids=name_of)
def test_commands_import_only_the_base_at_the_top(module):
    tree = ast.parse(module.read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in top}
    foreign = {name.partition(".")[0] for name in names} - {*sys.stdlib_module_names, "stellarfm"}
    assert not foreign


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_nothing_that_executes_what_it_reads(module):
    """No pickle, no `eval`, no `exec`, no `torch.load`: neither model directories nor data can run code."""
    called = {ast.unparse(node.func) for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)}
    assert not called & {"eval", "exec", "torch.load", "np.load", "numpy.load"}
    assert not {name.partition(".")[0] for name in imported_by(module)} & {"pickle", "joblib", "dill", "shelve"}
