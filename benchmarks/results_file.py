"""Writing of the results of a benchmark as NAME.json and NAME.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stellarfm.output import new_file


def write_results(output: Path | None, results: Mapping[str, Any], report: str) -> None:
    """Write ``output.json`` and ``output.md``, replacing existing files; do nothing if `output` is None."""
    if output is None:
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    for suffix, text in ((".json", json.dumps(results, indent=1) + "\n"), (".md", report)):
        with new_file(output.with_name(output.name + suffix), overwrite=True) as path:
            path.write_text(text)
