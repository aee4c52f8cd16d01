import os

import pytest

from core import machine


@pytest.fixture(autouse=True)
def eight(monkeypatch):
    monkeypatch.setattr(machine, "_allowed", lambda: 8)


def cgroup(root, line, files):
    for name, text in {"proc/self/cgroup": line, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


V1 = "3:cpu,cpuacct:/docker/ab"


@pytest.mark.parametrize(
    ("line", "files", "cores"),
    [
        ("0::/", {"sys/fs/cgroup/cpu.max": "max 100000"}, 8),
        ("0::/", {"sys/fs/cgroup/cpu.max": "250000 100000"}, 3),
        ("0::/", {"sys/fs/cgroup/cpu.max": "10000 100000"}, 1),
        ("0::/", {"sys/fs/cgroup/cpu.max": "6400000 100000"}, 8),
        ("0::/a/b", {"sys/fs/cgroup/a/cpu.max": "200000 100000", "sys/fs/cgroup/a/b/cpu.max": "max 100000"}, 2),
        (V1, {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 4),
        (V1, {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 8),
        ("0::/", {"sys/fs/cgroup/cpu.max": "nonsense"}, 8),
        ("0::/../..", {}, 8),
    ],
)
def test_the_quota_of_the_cgroup_counts(tmp_path, line, files, cores):
    assert machine.cores(cgroup(tmp_path, line, files)) == cores


def test_without_cgroups_what_is_allowed_counts(tmp_path):
    assert machine.cores(tmp_path) == 8


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system lets no process choose its processors")
def test_the_processors_that_are_allowed_count(tmp_path, monkeypatch):
    monkeypatch.undo()
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert machine.cores(tmp_path) == 1
    finally:
        os.sched_setaffinity(0, allowed)
