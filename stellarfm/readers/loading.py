"""One way in for maps and snapshots: find the reader that recognizes a path, pass it its options, check its result."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import h5py
from astropy.table import QTable

from stellarfm import registry
from stellarfm.exceptions import DuplicatePluginError, InputNotFoundError, PluginTypeError, ReaderError
from stellarfm.hdf5 import check_self_contained
from stellarfm.maps import GasMaps, MapSet
from stellarfm.maps.io.plane_selection import split_name
from stellarfm.readers.simulation_outputs import HDF5_SIGNATURE
from stellarfm.readers.tables import stored_sources
from stellarfm.simulations import Snapshot

__all__ = ["MapsAndSources", "find_reader", "read_maps", "read_snapshot"]

logger = logging.getLogger("stellarfm")

_NOTHING: Mapping[str, Any] = {}
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class MapsAndSources(NamedTuple):
    """Maps of a file and the table of sources stored with them.

    Attributes
    ----------
    maps : GasMaps or MapSet
        Field, or set of windows.
    sources : QTable or None
        Table STARS or SOURCES of a field in FITS, see `read_sources`; None without one, and for a map set, which has a
        table of stars of its own.

    Examples
    --------
    >>> from stellarfm.data import EXAMPLE_FIELD
    >>> from stellarfm.readers import read_maps
    >>> maps, sources = read_maps(EXAMPLE_FIELD)
    >>> len(sources)
    25
    """

    maps: GasMaps | MapSet
    sources: QTable | None


def read_maps(
    path: str | os.PathLike | Mapping[str, str | os.PathLike],
    *,
    reader: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> MapsAndSources:
    """Read a field, a spectral cube or a map set with the reader that recognizes the file.

    Parameters
    ----------
    path : path or mapping
        File, or a mapping of the keys ``"column"``, ``"velocity"``, ``"dispersion"`` to three FITS files, each also as
        ``FILE[EXT]`` or ``FILE[EXT][PLANE]``.
    reader : str, optional
        Name of a reader; by default the one that recognizes the file.
    options : mapping, optional
        Options of the reader; for three files, those of `GasMaps.read`. Text is converted to the number or truth value
        that the annotation of an option states.

    Returns
    -------
    MapsAndSources
        Maps, and the sources stored with them.

    Raises
    ------
    InputNotFoundError
        If a file is absent.
    ReaderError
        If no reader recognizes the file or several do, it cannot be read, or it does not contain maps.
    PluginError
        If the reader or an option is unknown.
    MapError, UnitsError
        If the maps, their units or their WCS cannot be used.

    Examples
    --------
    >>> from stellarfm.data import EXAMPLE_FIELD
    >>> from stellarfm.readers import read_maps
    >>> maps, sources = read_maps(EXAMPLE_FIELD, options={"distance": "200 pc"})
    >>> print(maps.distance, len(sources))
    200.0 pc 25
    """
    if isinstance(path, Mapping):
        return MapsAndSources(_read_three_maps(path, reader, options or {}), None)
    path = Path(path)
    found = _read(path, reader, options or {})
    if isinstance(found, Snapshot):
        raise ReaderError(f"{path}: contains a simulation snapshot, not maps; project it first (stellarfm project)")
    if not isinstance(found, GasMaps | MapSet):
        raise ReaderError(f"{path}: the reader returned a {type(found).__name__}; expected GasMaps or a MapSet")
    return MapsAndSources(found, stored_sources(path) if isinstance(found, GasMaps) else None)


def read_snapshot(
    path: str | os.PathLike,
    *,
    reader: str | None = None,
    options: Mapping[str, Any] | None = None,
    simulation: str | None = None,
    label_kind: str | None = None,
) -> Snapshot:
    """Read a snapshot of a simulation with the reader that recognizes the file.

    Parameters
    ----------
    path : path
        File or directory.
    reader : str, optional
        Name of a reader; by default the one that recognizes the file.
    options : mapping, optional
        Options of the reader. Text is converted to the number or truth value that the annotation of an option states.
    simulation : str, optional
        Name of the run, in place of that of the reader.
    label_kind : {"sink", "star"}, optional
        Required meaning of the masses; passed to readers that have such an option.

    Returns
    -------
    Snapshot
        Stars and gas; the gas remains in the files until it is requested.

    Raises
    ------
    InputNotFoundError
        If the file is absent.
    ReaderError
        If no reader recognizes the file or several do, it cannot be read, it does not contain a snapshot, or its masses
        are of another kind.
    PluginError
        If the reader or an option is unknown.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from stellarfm.readers import read_snapshot, write_snapshot
    >>> from stellarfm.simulations import Snapshot
    >>> position = {axis: [1.0] * u.pc for axis in "xyz"}
    >>> snapshot = Snapshot(
    ...     stars=QTable({"star": [1], **position, "mass": [0.5] * u.solMass}),
    ...     gas=None,
    ...     lower=[0, 0, 0] * u.pc,
    ...     upper=[2, 2, 2] * u.pc,
    ...     simulation="run",
    ...     label_kind="star",
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_snapshot(snapshot, Path(folder, "snapshot.h5"))
    ...     read_snapshot(Path(folder, "snapshot.h5"), simulation="renamed").simulation
    'renamed'
    """
    path = Path(path)
    found = _read(path, reader, options or {}, where_known={"simulation": simulation, "label_kind": label_kind})
    if not isinstance(found, Snapshot):
        raise ReaderError(f"{path}: contains finished maps, not a simulation snapshot; there is nothing to project")
    if simulation is not None:
        found = replace(found, simulation=simulation)
    if label_kind in (None, found.label_kind) or "mass" not in found.stars.colnames:
        return found
    if found.label_kind is not None:
        raise ReaderError(f"{path}: its masses are of kind {found.label_kind!r}, not {label_kind!r}")
    return replace(found, label_kind=label_kind)


def find_reader(path: str | os.PathLike) -> str:
    """Return the name of the installed reader that recognizes `path`.

    Readers of stellarfm itself are queried first, those of other distributions only if none of these recognizes the
    file. Each reader is queried at most once; one that fails is logged and passed over.

    Parameters
    ----------
    path : path
        File or directory.

    Raises
    ------
    InputNotFoundError
        If there is no such file.
    ReaderError
        If no reader recognizes it, or several do; the message contains their names and distributions.
    """
    path = Path(path)
    if not path.exists():
        raise InputNotFoundError(f"{path}: no such file; check the path")
    check_self_contained(path)
    names = registry.names("readers")
    core = [name for name in names if _is_core(name)]
    answers: dict[str, bool | None] = {}
    for group in (core, [name for name in names if name not in core]):
        answers |= {name: _recognizes(name, path) for name in group}
        if willing := [name for name in group if answers[name]]:
            return _only_one(willing, path)
    if reason := _broken_hdf5(path):
        raise ReaderError(f"{path}: begins like HDF5 but breaks off ({reason}); fetch it again")
    tried = ", ".join(name for name, answer in answers.items() if answer is False)
    failed = ", ".join(name for name, answer in answers.items() if answer is None)
    raise ReaderError(
        f"{path}: no reader recognizes this file (tried: {tried}{'; failed: ' if failed else ''}{failed}); "
        "expected maps, cubes or a snapshot, or the name of a reader: reader="
    )


def _is_core(name: str) -> bool:
    return any(origin.startswith("stellarfm==") for origin in registry.origin("readers", name).split(" and "))


def _only_one(names: list[str], path: Path) -> str:
    if len(names) > 1:
        claims = " and ".join(f"{name!r} of {registry.origin('readers', name)}" for name in names)
        raise ReaderError(f"{path}: recognized by several readers, {claims}; choose one: reader={names[0]!r}")
    return names[0]


def _recognizes(name: str, path: Path) -> bool | None:
    """Return the answer of reader `name`; None if it fails in any way, other than by a second claim on a core name."""
    try:
        return bool(registry.create("readers", name).can_read(path))
    except Exception as error:
        if isinstance(error, DuplicatePluginError) and _is_core(name):
            raise
        cause, origin = f"{type(error).__name__}: {error}", registry.origin("readers", name)
        logger.warning("%s: reader %r of %s failed and is passed over (%s)", path, name, origin, cause)
        return None


def _broken_hdf5(path: Path) -> str:
    """Return why a file that begins like HDF5 cannot be opened, or an empty string."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        if file.read(len(HDF5_SIGNATURE)) != HDF5_SIGNATURE:
            return ""
    try:
        h5py.File(path).close()
    except (OSError, RuntimeError) as error:
        return str(error)
    return ""


def _read(
    path: Path, reader: str | None, options: Mapping[str, Any], *, where_known: Mapping[str, Any] = _NOTHING
) -> Any:
    """Read `path`; options that the reader lacks are an error, except those in `where_known`, which are dropped."""
    if not path.exists():
        raise InputNotFoundError(f"{path}: no such file; check the path")
    check_self_contained(path)
    name = reader or find_reader(path)
    known = registry.options(registry.get("readers", name))
    chosen = _convert_options(options, known, f"{path}: reader {name!r}")
    chosen |= {key: value for key, value in where_known.items() if key in known and value is not None}
    return registry.create("readers", name, **chosen).read(path)


def _read_three_maps(paths: Mapping[str, str | os.PathLike], reader: str | None, options: Mapping[str, Any]) -> GasMaps:
    if reader is not None:
        raise ReaderError(f"reader={reader!r} was given for maps in three files; readers take one file")
    for path in paths.values():
        if not split_name(path).path.exists():
            raise InputNotFoundError(f"{split_name(path).path}: no such file; check the path")
    signature = inspect.signature(GasMaps.read).parameters
    known = {name: each for name, each in signature.items() if each.kind is inspect.Parameter.KEYWORD_ONLY}
    return GasMaps.read(paths, **_convert_options(options, known, "a field in three files"))


def _convert_options(options: Mapping[str, Any], known: Mapping[str, inspect.Parameter], owner: str) -> dict[str, Any]:
    """Return the options with text converted; raise `PluginTypeError` for those that `owner` lacks."""
    for name in options:
        if name not in known:
            raise PluginTypeError(
                f"{owner} has no option {name!r}; leave it out (options: {', '.join(known) or 'none'})"
            )
    return {name: _convert(value, known[name], owner) for name, value in options.items()}


def _convert(value: Any, parameter: inspect.Parameter, owner: str) -> Any:
    """Convert text to the type in the annotation of an option; leave other values as they are."""
    if not isinstance(value, str):
        return value
    kinds = str(getattr(parameter.annotation, "__name__", parameter.annotation)).replace(" ", "").split("|")
    try:
        if "bool" in kinds:
            return _BOOLEANS[value.lower()]
        number = next((kind for kind in (int, float) if kind.__name__ in kinds), None)
        return value if number is None or "str" in kinds else number(value)
    except (KeyError, ValueError) as error:
        raise PluginTypeError(f"{owner}: option {parameter.name}={value!r}; expected {kinds[0]}") from error
