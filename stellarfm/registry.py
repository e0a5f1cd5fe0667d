"""Finds plugins through entry points; first-party ones are registered like anyone else's.

Listing names imports no plugin; getting one imports that one alone. A broken plugin breaks nothing but itself.
"""

from __future__ import annotations

import difflib
import inspect
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from stellarfm.contracts import CONTRACTS
from stellarfm.exceptions import BrokenPluginError, DuplicatePluginError, PluginTypeError, UnknownPluginError

__all__ = ["Plugin", "create", "get", "names", "options", "origin", "plugins"]


@dataclass(frozen=True)
class Plugin:
    """One line of `plugins`: where a plugin comes from and whether it can be used."""

    name: str
    group: str
    package: str
    version: str
    state: str

    def as_dict(self) -> dict[str, str]:
        """The record as a plain dictionary."""
        return asdict(self)


def _group(group: str) -> str:
    """Full name of a group; ``"encoders"`` is short for ``"stellarfm.encoders"``."""
    full = group if group.startswith("stellarfm.") else f"stellarfm.{group}"
    if full not in CONTRACTS:
        raise ValueError(f"unknown plugin group {group!r}; the groups are {', '.join(CONTRACTS)}")
    return full


def _origin(entry: EntryPoint) -> tuple[str, str]:
    """Distribution name and version of an entry point."""
    return (entry.dist.name or "unknown", entry.dist.version or "unknown") if entry.dist else ("unknown", "unknown")


def _entries(group: str) -> list[EntryPoint]:
    """All entry points of a group, sorted by name; importlib has dropped distributions that are on two paths."""
    return sorted(entry_points(group=_group(group)), key=lambda entry: (entry.name, *_origin(entry)))


def names(group: str) -> list[str]:
    """Names offered in `group`, sorted, without importing any plugin."""
    return sorted({entry.name for entry in _entries(group)})


def origin(group: str, name: str) -> str:
    """Distributions that offer `name`, as ``package==version``; imports nothing."""
    return " and ".join("==".join(_origin(entry)) for entry in _entries(group) if entry.name == name)


def _load(entry: EntryPoint) -> type:
    """Import a plugin and check it against its contract."""
    package, version = _origin(entry)
    where = f"plugin {entry.name!r} of {package}=={version} ({entry.group})"
    try:
        plugin = entry.load()
    except (Exception, SystemExit) as error:
        cause = f"{type(error).__name__}: {error}"
        raise BrokenPluginError(f"{where} cannot be loaded: {cause}; reinstall or remove {package}") from error
    if reason := _misfit(plugin, CONTRACTS[entry.group]):
        raise PluginTypeError(f"{where} {reason}; it must be mended in {package}")
    return plugin


def _misfit(plugin: Any, contract: type) -> str:
    """Why `plugin` does not fulfil `contract`, or an empty string."""
    expected = f"stellarfm.contracts.{contract.__name__}"
    if not inspect.isclass(plugin):
        return f"is {plugin!r}, no class; expected a subclass of {expected}"
    if not issubclass(plugin, contract):
        return f"is {plugin!r}; expected a subclass of {expected}"
    if missing := sorted(getattr(plugin, "__abstractmethods__", ())):
        return f"is {plugin!r} without {', '.join(missing)}; expected all of {expected}"
    return ""


def get(group: str, name: str) -> type:
    """The plugin class `name` of `group`; imports that plugin alone.

    Raises
    ------
    UnknownPluginError
        Nobody offers the name; the message holds the nearest ones.
    DuplicatePluginError
        Two distributions offer it; the message holds both as ``package==version``.
    BrokenPluginError
        It cannot be imported; the message holds package, version and cause.
    PluginTypeError
        It is not a class that fulfils the contract of the group, which the message names.
    """
    found = [entry for entry in _entries(group) if entry.name == name]
    kind = _group(group).rpartition(".")[2][:-1]
    if not found:
        known = names(group)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
        hint = f"did you mean {', '.join(near)}?" if near else "none is installed"
        raise UnknownPluginError(f"unknown {kind} {name!r}; {hint} (`stellarfm plugins` lists all)")
    if len(found) > 1:
        raise DuplicatePluginError(f"{kind} {name!r} is offered by {origin(group, name)}; uninstall one of them")
    return _load(found[0])


def options(plugin: type) -> dict[str, inspect.Parameter]:
    """Keyword-only constructor parameters of a plugin class, by name."""
    parameters = inspect.signature(plugin).parameters
    return {name: p for name, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}


def create(group: str, name: str, /, **given: Any) -> Any:
    """An instance of plugin `name` with the options `given`; `PluginTypeError` if one is unknown or missing."""
    plugin = get(group, name)
    known = options(plugin)
    for option in given:
        if option not in known:
            raise PluginTypeError(f"{name!r} has no option {option!r}; it has {', '.join(known) or 'none'}")
    for option, parameter in known.items():
        if option not in given and parameter.default is parameter.empty:
            raise PluginTypeError(f"{name!r} needs the option {option!r} ({parameter})")
    return plugin(**given)


def plugins(group: str | None = None) -> list[Plugin]:
    """Every plugin that is installed, broken ones too; imports each to learn its state (``"ok"`` or the reason)."""
    rows = []
    for full in CONTRACTS if group is None else [_group(group)]:
        entries = _entries(full)
        for entry in entries:
            rows.append(Plugin(entry.name, full, *_origin(entry), _state(entry, entries)))
    return rows


def _state(entry: EntryPoint, entries: list[EntryPoint]) -> str:
    """``"ok"``, or in words what is wrong with an entry point."""
    others = ["==".join(_origin(e)) for e in entries if e.name == entry.name and e is not entry]
    if others:
        return f"duplicate: also offered by {', '.join(others)}"
    try:
        _load(entry)
    except (BrokenPluginError, PluginTypeError) as error:
        return f"broken: {error}"
    return "ok"
