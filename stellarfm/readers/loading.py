"""Any snapshot by the reader that knows it, whatever way its options were spelled."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from stellarfm import registry
from stellarfm.exceptions import PluginTypeError, ReaderError
from stellarfm.readers import reader_name
from stellarfm.simulations import Snapshot

__all__ = ["read_snapshot"]

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read_snapshot(
    path: Path,
    *,
    reader: str | None = None,
    options: Mapping[str, Any] | None = None,
    simulation: str | None = None,
    label_kind: str | None = None,
) -> Snapshot:
    """The snapshot in `path`.

    Parameters
    ----------
    path : Path
        File or directory.
    reader : str, optional
        Name of a reader; by default the one that knows the file.
    options : mapping, optional
        Options of the reader. Text is turned into the number or truth value that an option is annotated with.
    simulation : str, optional
        Name of the run, in place of the reader's.
    label_kind : {"sink", "star"}, optional
        What the masses must mean; handed to readers that can choose.

    Raises
    ------
    InputNotFoundError, ReaderError
        If there is no such file or no reader for it, it cannot be read, or it holds no snapshot.
    PluginError
        If the reader or an option is unknown.
    """
    name = reader or reader_name(path)
    known = registry.options(registry.get("readers", name))
    given = {key: _typed(value, known[key], name) if key in known else value for key, value in (options or {}).items()}
    for key, value in {"simulation": simulation, "label_kind": label_kind}.items():
        if value is not None and key in known:
            given[key] = value
    found = registry.create("readers", name, **given).read(Path(path))
    if not isinstance(found, Snapshot):
        raise ReaderError(f"{path}: holds finished maps, no snapshot of a simulation; there is nothing to project")
    return _labelled(found if simulation is None else replace(found, simulation=simulation), label_kind, path)


def _labelled(snapshot: Snapshot, label_kind: str | None, path: Path) -> Snapshot:
    """The snapshot, if its masses are of the kind that was asked for or of none."""
    if label_kind in (None, snapshot.label_kind) or "mass" not in snapshot.stars.colnames:
        return snapshot
    if snapshot.label_kind is not None:
        raise ReaderError(f"{path}: its masses are of kind {snapshot.label_kind!r}, not {label_kind!r}")
    return replace(snapshot, label_kind=label_kind)


def _typed(value: Any, parameter: inspect.Parameter, reader: str) -> Any:
    """Text as what the annotation of an option asks for."""
    if not isinstance(value, str):
        return value
    kinds = str(getattr(parameter.annotation, "__name__", parameter.annotation)).replace(" ", "").split("|")
    try:
        if "bool" in kinds:
            return _WORDS[value.lower()]
        number = next((kind for kind in (int, float) if kind.__name__ in kinds), None)
        return value if number is None or "str" in kinds else number(value)
    except (KeyError, ValueError) as error:
        raise PluginTypeError(f"option {parameter.name}={value!r} of reader {reader!r}; expected {kinds[0]}") from error
