"""What a benchmark found, written as NAME.json and NAME.md beside each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stellarfm.output import new_file


def write_results(output: Path | None, found: Mapping[str, Any], words: str) -> None:
    """Nothing if `output`, a path without its ending, is None; what was there is replaced, each file as a whole."""
    if output is None:
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    for ending, text in ((".json", json.dumps(found, indent=1) + "\n"), (".md", words)):
        with new_file(output.with_name(output.name + ending), overwrite=True) as path:
            path.write_text(text)
