import json
import os
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tiny import tiny_card, tiny_model

from core.card import KEY
from core.errors import ModelError
from core.onnx_file import read_metadata, read_tensor, sha256


def save(path: Path, *tensors: onnx.TensorProto) -> Path:
    onnx.save(helper.make_model(helper.make_graph([], "g", [], [], list(tensors))), path)
    return path


def test_metadata_is_read_as_it_was_written(tmp_path):
    assert json.loads(read_metadata(tiny_model(tmp_path))[KEY]) == tiny_card()


@pytest.mark.parametrize("kind", ["float32", "float16", "int8", "uint8", "int32", "int64"])
def test_a_tensor_is_read_as_it_was_written(tmp_path, kind):
    array = np.arange(-6, 6).reshape(2, 1, 6).astype(kind)
    other = numpy_helper.from_array(np.zeros(3, np.float32), "other")
    path = save(tmp_path / "t.onnx", other, numpy_helper.from_array(array, "wanted"))
    found = read_tensor(path, "wanted")
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_a_scalar_and_an_empty_tensor_are_read(tmp_path):
    arrays = {"scalar": np.array(7, np.int64), "empty": np.zeros((0, 3), np.float32)}
    path = save(tmp_path / "t.onnx", *(numpy_helper.from_array(a, n) for n, a in arrays.items()))
    assert all(np.array_equal(read_tensor(path, name), array) for name, array in arrays.items())


def test_a_missing_tensor_is_named(tmp_path):
    with pytest.raises(ModelError, match="no constant 'nothing'"):
        read_tensor(tiny_model(tmp_path), "nothing")


def test_dimensions_that_disagree_with_the_data_are_refused(tmp_path):
    lie = numpy_helper.from_array(np.zeros(4, np.float32), "lie")
    for dims in ([2**40, 2**40], [-1], [5], [0, 2**62]):
        lie.dims[:] = dims
        with pytest.raises(ModelError, match="lie"):
            read_tensor(save(tmp_path / "t.onnx", lie), "lie")


def test_the_graph_is_stepped_over_not_read(tmp_path):
    big = numpy_helper.from_array(np.zeros(1 << 24, np.float32), "big")  # 64 MiB
    path = save(tmp_path / "big.onnx", big)
    start = time.process_time()
    read_metadata(path)
    assert time.process_time() - start < 0.02


def test_every_truncation_is_one_sentence_or_still_a_model(tmp_path):
    data = tiny_model(tmp_path).read_bytes()
    path = tmp_path / "cut.onnx"
    for end in [*range(0, 60), *range(60, len(data), 997), len(data) - 1]:
        path.write_bytes(data[:end])
        for read in (read_metadata, lambda p: read_tensor(p, "grain")):
            try:
                read(path)
            except ModelError as error:
                assert "cut.onnx" in str(error) and "\n" not in str(error)


def test_random_bytes_are_a_model_error(tmp_path):
    random = np.random.default_rng(0)
    for size in (1, 10, 100, 10_000) * 20:
        path = tmp_path / "noise.onnx"
        path.write_bytes(random.bytes(size))
        with pytest.raises(ModelError, match=r"noise\.onnx"):
            read_metadata(path)


def test_a_file_of_tiny_fields_ends_soon(tmp_path):
    path = tmp_path / "many.onnx"
    path.write_bytes(b"\x08\x01" * 2_000_000)
    start = time.process_time()
    with pytest.raises(ModelError, match="too many"):
        read_metadata(path)
    assert time.process_time() - start < 1


def test_an_enormous_metadata_entry_is_refused(tmp_path):
    model = helper.make_model(helper.make_graph([], "g", [], []))
    helper.set_model_props(model, {KEY: "x" * (2 << 20)})
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="most"):
        read_metadata(tmp_path / "m.onnx")


def test_a_missing_file_a_folder_and_a_pipe_are_model_errors(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("nothing", ".", "pipe"):
        with pytest.raises(ModelError):
            read_metadata(tmp_path / name)


def test_the_digest_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a").startswith("ba7816bf8f01cfea")
