import os

import numpy as np
import onnx
import pytest
import torch
from test_upscale import enlarged, material, rolled
from tiny import tiny_model

from core import families, int8
from core.library import BUNDLED, Library
from core.sessions import Sessions
from export import int8 as maker
from export import upscale as trainer

SHIPPED = sorted(path for path in BUNDLED.glob("*.onnx") if int8.is_companion(path))
DECIBELS = 35  # that random weights keep


def opened(path, **options):
    """A model's card and its session on the CPU."""
    model = next(m for m in Library([path.parent]).models() if m.path == path)
    return model.card, Sessions("cpu", **options).open(model, families.load(model.card.family, "the test"))


def precision(path, **options):
    return opened(path, **options)[1].precision


def companion_of(path):
    return path.with_name(path.stem + int8.SUFFIX)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """An untrained network whose details are nonsense of every pixel that it sees, with its companion."""
    torch.manual_seed(1)
    network = trainer.Network(width=8, blocks=1)
    torch.nn.init.normal_(network.leave.weight, std=0.02)
    path = tmp_path_factory.mktemp("drawn") / "upscale.onnx"
    trainer.write_model(network, path, data="none")
    recorder = maker.Recorder(opened(path)[1])
    for seed in (3, 4):
        enlarged((opened(path)[0], recorder), material(seed=seed))
    small = maker.quantised(onnx.load(path), maker.PLANS["upscale"].integer, recorder.feeds)
    maker.write(small, path, companion_of(path))
    return path


@pytest.fixture
def pair(drawn, tmp_path):
    """A copy of both files, to be spoiled."""
    for path in (drawn, companion_of(drawn)):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / drawn.name


def test_the_cpu_runs_the_companion_and_says_so(drawn):
    session = opened(drawn)[1]
    assert (session.precision, session.provider, session.path) == ("int8", "CPUExecutionProvider", drawn)


def test_convolutions_became_integers_and_pictures_stayed(drawn):
    maps = [enlarged(opened(drawn, int8=on)) for on in (True, False)]
    error = np.sqrt(((maps[0]["albedo"] - maps[1]["albedo"]) ** 2).mean())
    assert 0 < error < 10 ** (-DECIBELS / 20)
    weights = [t for t in onnx.load(companion_of(drawn)).graph.initializer if t.data_type == onnx.TensorProto.INT8]
    numbers = [onnx.numpy_helper.to_array(weight) for weight in weights]
    assert len([n for n in numbers if n.ndim == 4]) == 2 and all(np.abs(n).max() <= 64 for n in numbers)


def test_a_companion_is_no_model(pair):
    library = Library([pair.parent])
    assert [m.path for m in library.models() if m.path.parent == pair.parent] == [pair] and not library.problems()


def test_it_can_be_switched_off(pair):
    assert precision(pair, int8=False) == "float32"


def test_without_it_the_float_file_runs(pair):
    companion_of(pair).unlink()
    assert precision(pair) == "float32"


def test_a_stale_one_is_passed_over(pair):
    pair.write_bytes(pair.read_bytes() + b"\x08\x08")  # the version of the format, once more
    assert precision(pair) == "float32"


def test_one_of_another_model_is_passed_over(pair):
    other = tiny_model(pair.parent)
    companion_of(pair).replace(companion_of(other))
    assert precision(other) == "float32"


@pytest.mark.parametrize("spoil", [lambda data: b"", lambda data: data[:2000], lambda data: os.urandom(3000)])
def test_a_file_that_cannot_be_read_is_passed_over(pair, spoil):
    path = companion_of(pair)
    path.write_bytes(spoil(path.read_bytes()))
    assert precision(pair) == "float32"


def test_a_graph_that_cannot_be_opened_is_passed_over(pair):
    path = companion_of(pair)
    path.write_bytes(path.read_bytes().replace(b"QuantizeLinear", b"QuantizeLineaX"))
    assert int8.companion(pair) == path and precision(pair) == "float32"


def test_a_tile_equals_the_whole(drawn):
    whole, tiled = (enlarged(opened(drawn), tile=side) for side in (512, 13))
    assert all(np.array_equal(whole[name], tiled[name]) for name in ("albedo", "roughness", "normal"))


def test_a_rolled_input_gives_the_rolled_output(drawn):
    model = opened(drawn)
    found = rolled(enlarged(model, material().only(["albedo", "normal"])), 10, 26)
    moved = enlarged(model, rolled(material().only(["albedo", "normal"]), 5, 13))
    assert all(np.array_equal(found[name], moved[name]) for name in found)


def test_the_range_with_the_least_error_leaves_rare_values_out():
    values = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    low, high = maker.best_range(np.append(values, np.float32(40)))
    assert low < -2 and 3 < high < 35
    assert maker.best_range(np.zeros(5, np.float32)) == (0, 0)


def test_a_table_that_is_looked_up_is_lent_by_the_float_file(tmp_path):
    path = tiny_model(tmp_path)
    float_file = onnx.load(path)
    small, lent = maker.borrowed(maker.simplified(float_file), float_file)
    assert lent == ["memory"] and "memory" not in {tensor.name for tensor in small.graph.initializer}
    whole = maker.simplified(float_file)
    for _ in range(2):  # the model is left as it was
        maker.write(whole, path, companion_of(path))
    random = np.random.default_rng(1)
    feeds = {"cells": random.integers(0, 700, (1, 10, 10)), "share": np.ones((1, 1, 10, 10), np.float32)}
    feeds["noise"] = random.standard_normal((1, 2, 10, 10), dtype=np.float32)
    both = [opened(path, int8=on)[1] for on in (True, False)]
    assert [session.precision for session in both] == ["int8", "float32"]
    np.testing.assert_allclose(both[0].run(feeds)[0], both[1].run(feeds)[0], atol=1e-6)


@pytest.mark.parametrize("name", ["albedo_db", "normal_deg", "judged", "speed"])
def test_what_falls_short_is_told(name):
    report = {"between": {"albedo_db": 50.0, "worst_albedo_db": 30.0, "normal_deg": 0.3}, "speed": 2.0}
    report["judged"] = {"x2_albedo_psnr": (38.0, 37.99), "normal_deg": (4.0, 4.05), "seam": (1.0, 1.2)}
    assert maker.shortfalls(report) == []
    worse = {"albedo_db": 41.0, "normal_deg": 0.8}
    if name in worse:
        report["between"][name] = worse[name]
    elif name == "speed":
        report["speed"] = 1.2
    else:
        report["judged"]["x2_albedo_psnr"] = (38.0, 37.9)
    assert len(maker.shortfalls(report)) == 1


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_companion_is_that_of_its_file_and_opens(path):
    assert precision(path.with_name(path.name.removesuffix(int8.SUFFIX) + ".onnx")) == "int8"


def test_all_shipped_files_are_small():
    assert sum(path.stat().st_size for path in BUNDLED.glob("*.onnx")) < 60e6
