"""Checks common to plugins of all groups."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from stellarfm import registry

__all__ = ["Conformance"]


class Conformance:
    """Checks of all plugins: a class that inherits its contract and lists its options.

    Attributes
    ----------
    plugin : type
        Class under test, to be set.
    options : dict
        Options for a small and fast instance.
    """

    contract: ClassVar[type]
    required_options: ClassVar[tuple[str, ...]] = ()
    plugin: Any = None
    options: ClassVar[dict[str, Any]] = {}

    def make(self, **changes: Any) -> Any:
        """Return an instance with `options`, some of them changed."""
        return self.plugin(**{**self.options, **changes})

    def test_fulfils_the_contract(self) -> None:
        """Check that the plugin is a class that inherits its contract and implements all of it."""
        expected = f"stellarfm.contracts.{self.contract.__name__}"
        assert inspect.isclass(self.plugin), f"{self.plugin!r} is not a class; expected a subclass of {expected}"
        assert issubclass(self.plugin, self.contract), f"{self.plugin!r} does not inherit {expected}"
        missing = sorted(getattr(self.plugin, "__abstractmethods__", ()))
        assert not missing, f"{self.plugin!r} lacks {', '.join(missing)} of {expected}"

    def test_options_can_be_listed(self) -> None:
        """Check that the constructor takes only keyword-only options, each with a default or an annotation."""
        keyword_only = registry.options(self.plugin)
        for name, parameter in inspect.signature(self.plugin).parameters.items():
            assert name in keyword_only, f"{parameter} of {self.plugin!r} is not keyword-only: it cannot be listed"
            described = parameter.default is not parameter.empty or parameter.annotation is not parameter.empty
            assert described, f"option {name!r} of {self.plugin!r} has neither default nor annotation"
        for name in self.required_options:
            assert name in keyword_only, f"{self.plugin!r} lacks the option {name!r} of its contract"
            assert keyword_only[name].default is not inspect.Parameter.empty, f"option {name!r} has no default"
