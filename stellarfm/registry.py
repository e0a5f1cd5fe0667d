"""Plugins, found through the entry points of installed distributions; the core's own are registered in the same way.

Listing names imports no plugin; loading one imports that one alone. A broken plugin affects nothing but itself.
"""

from __future__ import annotations

import difflib
import inspect
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from stellarfm.contracts import CONTRACTS
from stellarfm.exceptions import BrokenPluginError, DuplicatePluginError, PluginTypeError, UnknownPluginError

__all__ = ["Plugin", "create", "entries", "get", "names", "options", "origin", "plugins"]


@dataclass(frozen=True)
class Plugin:
    """Origin and state of one installed plugin.

    Attributes
    ----------
    name, group : str
        Name of the plugin, and full name of its entry-point group.
    package, version : str
        Distribution that provides it.
    state : str
        ``"installed"`` (listed from metadata) or ``"duplicate: ..."``; `stellarfm.plugin_check.check_plugins` replaces
        it by ``"ok"``, ``"missing: ..."`` or ``"broken: ..."``.
    """

    name: str
    group: str
    package: str
    version: str
    state: str

    def as_dict(self) -> dict[str, str]:
        """Return the record as a plain dictionary."""
        return asdict(self)


def _full_name(group: str) -> str:
    """Return the full name of a group; ``"encoders"`` is short for ``"stellarfm.encoders"``."""
    full = group if group.startswith("stellarfm.") else f"stellarfm.{group}"
    if full not in CONTRACTS:
        raise ValueError(f"unknown plugin group {group!r}; the groups are {', '.join(CONTRACTS)}")
    return full


def _origin(entry: EntryPoint) -> tuple[str, str]:
    """Return distribution name and version of an entry point."""
    return (entry.dist.name or "unknown", entry.dist.version or "unknown") if entry.dist else ("unknown", "unknown")


def entries(group: str, name: str | None = None) -> list[EntryPoint]:
    """Return the entry points of a group, sorted by name; `importlib.metadata` drops distributions found twice.

    Parameters
    ----------
    group : str
        ``"encoders"`` or ``"stellarfm.encoders"``, and so on.
    name : str, optional
        Name of a plugin; all by default.
    """
    found = sorted(entry_points(group=_full_name(group)), key=lambda entry: (entry.name, *_origin(entry)))
    return found if name is None else [entry for entry in found if entry.name == name]


def names(group: str) -> list[str]:
    """Return the names of all plugins of a group, sorted, without importing any.

    Examples
    --------
    >>> from stellarfm import registry
    >>> "resnet18" in registry.names("encoders")
    True
    """
    return sorted({entry.name for entry in entries(group)})


def origin(group: str, name: str) -> str:
    """Return the distributions that provide a plugin, as ``package==version``; imports nothing.

    Examples
    --------
    >>> from stellarfm import registry
    >>> registry.origin("encoders", "resnet18").partition("==")[0]
    'stellarfm'
    """
    return " and ".join("==".join(_origin(entry)) for entry in entries(group, name))


def _load(entry: EntryPoint) -> type:
    """Import a plugin and check it against its contract."""
    package, version = _origin(entry)
    where = f"plugin {entry.name!r} of {package}=={version} ({entry.group})"
    try:
        plugin = entry.load()
    except (Exception, SystemExit) as error:
        cause = f"{type(error).__name__}: {error}"
        raise BrokenPluginError(f"{where} cannot be loaded: {cause}; reinstall or remove {package}") from error
    if reason := _violation(plugin, CONTRACTS[entry.group]):
        raise PluginTypeError(f"{where} {reason}; please report this to the authors of {package}")
    return plugin


def _violation(plugin: Any, contract: type) -> str:
    """Return how `plugin` violates `contract`; an empty string if it does not."""
    expected = f"stellarfm.contracts.{contract.__name__}"
    if not inspect.isclass(plugin):
        return f"is {plugin!r}, not a class; expected a subclass of {expected}"
    if not issubclass(plugin, contract):
        return f"is {plugin!r}; expected a subclass of {expected}"
    if missing := sorted(getattr(plugin, "__abstractmethods__", ())):
        return f"is {plugin!r} without {', '.join(missing)}; expected all methods of {expected}"
    return ""


def get(group: str, name: str) -> type:
    """Return the plugin class `name` of `group`; imports that plugin alone.

    Parameters
    ----------
    group : str
        ``"encoders"`` or ``"stellarfm.encoders"``, and so on.
    name : str
        Name of the entry point.

    Raises
    ------
    UnknownPluginError
        If no distribution provides the name; the message lists the nearest ones.
    DuplicatePluginError
        If two distributions provide it; the message names both as ``package==version``.
    BrokenPluginError
        If it cannot be imported; the message states package, version and cause.
    PluginTypeError
        If it is not a class that implements the contract of the group.

    Examples
    --------
    >>> from stellarfm import registry
    >>> registry.get("datasets", "flames").__name__
    'FlameDataset'
    """
    found = entries(group, name)
    kind = _full_name(group).rpartition(".")[2][:-1]
    if not found:
        known = names(group)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
        hint = f"did you mean {', '.join(near)}?" if near else "none is installed"
        raise UnknownPluginError(f"unknown {kind} {name!r}; {hint} (`stellarfm plugins` lists all)")
    if len(found) > 1:
        raise DuplicatePluginError(f"{kind} {name!r} is provided by {origin(group, name)}; uninstall one of them")
    return _load(found[0])


def options(plugin: type) -> dict[str, inspect.Parameter]:
    """Return the keyword-only constructor parameters of a plugin class, by name.

    Examples
    --------
    >>> from stellarfm import registry
    >>> "seed" in registry.options(registry.get("datasets", "flames"))
    True
    """
    parameters = inspect.signature(plugin).parameters
    return {name: p for name, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}


def create(group: str, name: str, /, **given: Any) -> Any:
    """Return an instance of a plugin.

    Parameters
    ----------
    group, name : str
        Group and name, see `get`.
    **given
        Options of the plugin: keyword-only parameters of its constructor.

    Raises
    ------
    PluginError
        If the plugin cannot be loaded (see `get`), or an option is unknown or missing.

    Examples
    --------
    >>> from stellarfm import registry
    >>> registry.create("datasets", "flames", size=16).image(0).shape
    (3, 16, 16)
    """
    plugin = get(group, name)
    known = options(plugin)
    for option in given:
        if option not in known:
            raise PluginTypeError(f"{name!r} has no option {option!r}; its options are {', '.join(known) or 'none'}")
    for option, parameter in known.items():
        if option not in given and parameter.default is parameter.empty:
            raise PluginTypeError(f"{name!r} requires the option {option!r} ({parameter})")
    return plugin(**given)


def plugins(group: str | None = None) -> list[Plugin]:
    """Return every installed plugin, from metadata alone: nothing is imported.

    Parameters
    ----------
    group : str, optional
        Group to list; all by default.

    Examples
    --------
    >>> from stellarfm import registry
    >>> {plugin.group for plugin in registry.plugins("readers")}
    {'stellarfm.readers'}
    """
    rows = []
    for full in CONTRACTS if group is None else [_full_name(group)]:
        found = entries(full)
        for entry in found:
            others = ["==".join(_origin(e)) for e in found if e.name == entry.name and e is not entry]
            state = f"duplicate: also provided by {', '.join(others)}" if others else "installed"
            rows.append(Plugin(entry.name, full, *_origin(entry), state))
    return rows
