"""Check of installed plugins: each is imported in a process of its own, so that a faulty one harms nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

from stellarfm import registry
from stellarfm.exceptions import PluginError
from stellarfm.parallel import available_cores
from stellarfm.registry import Plugin

__all__ = ["check_plugins"]

#: Longest time that importing one plugin may take, in seconds.
TIMEOUT = 120.0

#: Program of a checking process; its arguments are group, name, the file for the state, and ``sys.path`` as JSON.
_PROGRAM = """
import json, sys
from pathlib import Path
group, name, file, path = sys.argv[1:]
sys.path[:] = json.loads(path)
from stellarfm.plugin_check import loading_state
Path(file).write_text(loading_state(group, name))
"""


def check_plugins(plugins: Iterable[Plugin], *, timeout: float = TIMEOUT) -> list[Plugin]:
    """Return the plugins with the state that importing them shows.

    Parameters
    ----------
    plugins : iterable of Plugin
        Plugins to check, see `stellarfm.registry.plugins`.
    timeout : float
        Longest time that importing one may take, s.

    Returns
    -------
    list of Plugin
        The same plugins. Their state is ``"ok"``, or the reason after ``"duplicate: "`` (provided twice),
        ``"missing: "`` (an optional dependency is not installed) or ``"broken: "`` (importing it fails, exits or hangs,
        or it violates its contract).

    Examples
    --------
    >>> from stellarfm import registry
    >>> from stellarfm.plugin_check import check_plugins
    >>> [flames] = [plugin for plugin in registry.plugins("datasets") if plugin.name == "flames"]
    >>> check_plugins([flames])[0].state
    'ok'
    """
    with ThreadPoolExecutor(available_cores()) as pool:
        return list(pool.map(lambda plugin: replace(plugin, state=_state(plugin, timeout)), plugins))


def loading_state(group: str, name: str) -> str:
    """Return ``"ok"``, or ``"broken: "`` and the reason, after importing a plugin into this process."""
    try:
        registry.get(group, name)
    except PluginError as error:
        return f"broken: {error}"
    return "ok"


def _state(plugin: Plugin, timeout: float) -> str:
    if plugin.state.startswith("duplicate"):
        return plugin.state
    if missing := _missing_extra(plugin):
        return missing
    with TemporaryDirectory() as folder:
        file = Path(folder) / "state"
        arguments = [plugin.group, plugin.name, str(file), json.dumps(sys.path)]
        try:
            process = subprocess.run(
                [sys.executable, "-c", _PROGRAM, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            return f"broken: importing it did not end within {timeout:g} s"
        if not file.exists():
            return f"broken: the process that imported it ended with exit code {process.returncode}"
        return file.read_text()


def _missing_extra(plugin: Plugin) -> str:
    """Return what is not installed of the extras that an entry point declares (``... = "module:Class [yt]"``)."""
    from packaging.requirements import Requirement

    (entry,) = registry.entries(plugin.group, plugin.name)
    for extra in entry.extras:
        for text in (entry.dist.requires or []) if entry.dist else []:
            requirement = Requirement(text)
            if (marker := requirement.marker) is None or marker.evaluate({"extra": ""}):
                continue
            if marker.evaluate({"extra": extra}) and not _is_installed(requirement.name):
                return f"missing: {requirement.name} is not installed; pip install '{plugin.package}[{extra}]'"
    return ""


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
