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
BASE = {"exceptions", "hdf5", "output", "parallel", "provenance", "contracts", "registry", "plugin_check"}
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
#: Wing -> its sub-packages; each may import those before it, and single modules of the wing that do not lead back.
SUB_PACKAGES = {
    "maps": ("io",),
    "simulations": ("deposition",),
    "readers": ("common", "hdf5", "fits", "yt", "gadget", "ramses"),
    "fractals": ("genomes", "rendering", "export"),
    "pretraining": ("distributed", "recipes", "methods", "callbacks"),
    "inference": ("encoding", "masses", "segmentation"),
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
    return None if parts in (("__init__",), ("__main__",)) else parts[0]


def name_of(module):
    return str(module.relative_to(PACKAGE))


def dotted(module):
    """Full name of a module; that of a package for its ``__init__``."""
    return ".".join(("stellarfm", *module.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def import_graph():
    """Module -> the modules that it names in an import, wherever in it: inside functions and for type checking too.

    The table of public names in ``stellarfm/__init__.py`` is left out: it stands above everything and is asked for
    ``__version__`` by everything.
    """
    known = {dotted(module) for module in MODULES}
    graph = {}
    for module in MODULES:
        if module == PACKAGE / "__init__.py":
            continue
        imported = set()
        for name in imported_by(module):
            while name not in known and "." in name:
                name = name.rpartition(".")[0]
            imported.add(name)
        graph[dotted(module)] = {name for name in imported if name in known} - {dotted(module)}
    return graph


def sub_package(name):
    """``stellarfm.maps.io.fits_image`` -> ``stellarfm.maps.io``; a module directly in a wing stays itself."""
    parts = name.split(".")
    in_sub_package = len(parts) > 2 and parts[2] in SUB_PACKAGES.get(parts[1], ())
    return ".".join(parts[:3]) if in_sub_package else name


def wing_of(name):
    return ".".join(name.split(".")[:2])


def merged(graph, group_of):
    """The import graph of groups of modules."""
    groups = {}
    for name, imported in graph.items():
        group = group_of(name)
        groups.setdefault(group, set()).update({group_of(other) for other in imported} - {group})
    return groups


def circles(graph):
    """The sets of nodes that import each other, directly or through others."""
    reached = {name: set() for name in graph}
    for name in graph:
        waiting = [name]
        while waiting:
            new = graph.get(waiting.pop(), set()) - reached[name]
            reached[name] |= new
            waiting += new
    found = []
    for name in graph:
        if name in reached[name] and not any(name in circle for circle in found):
            found.append({other for other in reached[name] if name in reached.get(other, ())})
    return found


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
    assert set(stellarfm.__all__) == {"__version__", *stellarfm._HOME}
    with pytest.raises(AttributeError, match="no attribute 'GasMap'"):
        stellarfm.GasMap  # noqa: B018


def test_type_checkers_see_the_public_names():
    body = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")).body
    (block,) = (node for node in body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    imported = {alias.name: node.module for node in block.body for alias in node.names}
    assert imported == stellarfm._HOME
    assert (PACKAGE / "py.typed").is_file()


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


@pytest.mark.parametrize("group_of", [str, sub_package, wing_of], ids=["files", "sub-packages", "wings"])
def test_no_circles(group_of):
    found = [sorted(circle) for circle in circles(merged(import_graph(), group_of))]
    assert not found, f"modules that import each other: {found}"


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"f"}, "f": {"e", "a"}}
    assert sorted(map(sorted, circles(graph))) == [["b", "c"], ["e", "f"]]


@pytest.mark.parametrize("wing", SUB_PACKAGES)
def test_sub_packages_have_an_order(wing):
    order = SUB_PACKAGES[wing]
    assert set(order) == {path.parent.name for path in (PACKAGE / wing).glob("*/__init__.py")}
    for name, imported in merged(import_graph(), sub_package).items():
        _, own, *rest = name.split(".")
        if own == wing and rest and rest[0] in order:
            later = {f"stellarfm.{wing}.{other}" for other in order[order.index(rest[0]) + 1 :]}
            assert not imported & later, f"{name} must not import {', '.join(imported & later)}"


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
