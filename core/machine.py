"""What this process may use of the machine."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def cores(root: Path = Path("/")) -> int:
    """Processors that this process may use, at least one: those it is allowed, within the CPU quota of its cgroup.

    A container sees all processors of its host, however few it may use. `root` is where /proc and /sys are.
    """
    return min([_allowed(), *(math.ceil(quota) for quota in _quotas(root))])


def _allowed() -> int:
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Processors' worth of time that this process's cgroup and those around it may use, where that is limited."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers == "":  # version 2
            base, files = root / "sys/fs/cgroup", ["cpu.max"]
        elif "cpu" in controllers.split(","):  # version 1
            base, files = root / "sys/fs/cgroup/cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        group = base / place.lstrip("/")
        # Inside a container the path may be the host's, of which only the root is to be seen.
        for folder in (group, *group.parents):
            with suppress(OSError, ValueError):  # ValueError: no limit is "max"
                quota, period = " ".join((folder / name).read_text() for name in files).split()
                if int(quota) > 0:  # no limit is -1
                    yield int(quota) / int(period)
            if folder == base:
                break
