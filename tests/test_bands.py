import errno
import os
import threading
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from core import bands, scratch
from core.errors import ResourceError


@pytest.fixture
def all_in_files(monkeypatch):
    monkeypatch.setattr(scratch, "LARGE", 1)


def resident():
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(("length", "band"), [(1, 64), (64, 64), (65, 64), (1000, 7)])
def test_every_line_is_worked_on_once_and_results_are_in_order(length, band):
    lines = bands.each(length, lambda rows: list(range(rows.start, rows.stop)), band=band)
    assert list(chain.from_iterable(lines)) == list(range(length)) and max(map(len, lines)) <= band


def test_what_goes_wrong_in_a_band_comes_out_and_work_can_go_on():
    with pytest.raises(ZeroDivisionError):
        bands.each(1000, lambda rows: 1 // (rows.start - 128))
    assert len(bands.each(1000, lambda rows: rows)) == 16


def test_few_bands_are_made_ahead():
    made = []
    results = bands.stream(6400, lambda rows: made.append(rows))
    next(results)
    results.close()
    assert len(made) <= 2 * bands._threads() + 2 < 100


def test_more_than_one_thread_works_where_there_is_more_than_one_core(monkeypatch):
    monkeypatch.setattr(bands, "_threads", lambda: 2)
    both = threading.Barrier(2, timeout=20)  # passed only when two bands are worked on at once
    bands._pool.cache_clear()
    try:
        assert len(bands.each(128, lambda rows: both.wait())) == 2
    finally:
        bands._pool.cache_clear()


def test_an_array_in_a_file_keeps_its_values_and_gives_its_memory_back(all_in_files):
    array, values = scratch.empty((4000, 4000)), np.arange(4000, dtype=np.float32)
    array[:] = values
    full = resident()
    scratch.rest(array[:10, ::2])  # a view is enough
    assert full - resident() > 0.8 * array.nbytes and (array == values).all()


def test_small_arrays_are_in_memory():
    array = scratch.empty((3, 4), np.uint8)
    assert array.shape == (3, 4) and array.dtype == np.uint8 and array.base is None


def test_a_full_disk_is_one_sentence(all_in_files, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ResourceError, match="No space left"):
        scratch.empty((100, 100))


def test_without_a_way_to_reserve_room_it_is_written(all_in_files, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate")
    array = scratch.empty((100, 100))
    array[:] = 7
    assert (array == 7).all()
