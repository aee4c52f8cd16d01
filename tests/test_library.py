import os
import time

import pytest
from tiny import tiny_model

from core.errors import InputError, ModelError
from core.library import Library


@pytest.fixture(autouse=True)
def only_the_folders_given(monkeypatch, tmp_path):
    monkeypatch.delenv("TESSERA_MODELS", raising=False)
    monkeypatch.setattr("core.library.BUNDLED", tmp_path / "bundled")


def test_models_and_materials_are_listed(tmp_path):
    tiny_model(tmp_path)
    library = Library([tmp_path])
    assert [model.card.name for model in library.models()] == ["tiny"]
    assert list(library.materials()) == ["cobblestone", "oak", "sand"]


def test_the_environment_variable_adds_folders(tmp_path, monkeypatch):
    tiny_model(tmp_path / "a", name="a")
    tiny_model(tmp_path / "b", name="b")
    monkeypatch.setenv("TESSERA_MODELS", f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}")
    assert [model.card.name for model in Library().models()] == ["a", "b"]


def test_an_unknown_material_suggests_the_nearest(tmp_path):
    tiny_model(tmp_path)
    with pytest.raises(InputError, match=r"did you mean cobblestone.*`list` shows all"):
        Library([tmp_path]).find("cobblestones")


def test_an_unknown_model_suggests_the_nearest(tmp_path):
    tiny_model(tmp_path)
    with pytest.raises(InputError, match="no model called 'tine'; did you mean tiny"):
        Library([tmp_path]).find("oak", "tine")


def test_a_model_can_be_asked_for(tmp_path):
    tiny_model(tmp_path, "a.onnx", name="first")
    tiny_model(tmp_path, "b.onnx", name="second")
    library = Library([tmp_path])
    assert library.find("oak").card.name == "first"
    assert library.find("oak", "second") == library.find("oak", "b")


def test_without_models_the_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=r"no models are installed.*bundled"):
        Library().find("oak")


BROKEN = {
    "no card": lambda folder: _without_card(folder / "bad.onnx"),
    "not valid JSON": lambda folder: tiny_model(folder, "bad.onnx", card="{"),
    "'maps' must be": lambda folder: tiny_model(folder, "bad.onnx", maps="albedo"),
    "family '../os'": lambda folder: tiny_model(folder, "bad.onnx", family="../os"),
    "ends too early": lambda folder: _cut(tiny_model(folder, "bad.onnx")),
    "cannot be read|can be read": lambda folder: (folder / "bad.onnx").write_bytes(os.urandom(2000)),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_file_is_told_and_hides_no_other(tmp_path, message):
    tiny_model(tmp_path)
    BROKEN[message](tmp_path)
    library = Library([tmp_path])
    assert library.find("oak").path.name == "tiny.onnx"
    assert [problem.path.name for problem in library.problems()] == ["bad.onnx"]
    with pytest.raises(ModelError, match=message):
        library.find("oak", "bad")


def test_listing_is_immediate(tmp_path):
    for i in range(10):
        tiny_model(tmp_path, f"{i}.onnx")
    start = time.process_time()
    assert len(Library([tmp_path]).models()) == 10
    assert time.process_time() - start < 0.05


def _without_card(path):
    import onnx
    from onnx import helper

    onnx.save(helper.make_model(helper.make_graph([], "g", [], [])), path)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-100])
