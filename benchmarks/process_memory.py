"""Peak memory of a process."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_memory() -> float:
    """Return the peak memory of this process in MiB (not ru_maxrss on Linux, which a child inherits)."""
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
