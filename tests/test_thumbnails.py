from tiny import MATERIALS, tiny_model

from core import images, thumbnails
from core.library import BUNDLED, Library
from core.sessions import Sessions


def drawn(folder):
    """Thumbnails of every material of a tiny model, beside it."""
    tiny_model(folder)
    library = Library([folder])
    targets = [(name, thumbnails.shipped(library.find(name), name)) for name in MATERIALS]
    stages = [progress.stage for progress in thumbnails.draw(targets, library, Sessions("cpu"))]
    return [path for _, path in targets], stages


def test_each_material_gets_its_picture_beside_the_model(tmp_path):
    paths, stages = drawn(tmp_path)
    assert stages == list(MATERIALS) and {path.parent for path in paths} == {tmp_path / "tiny"}
    assert all(images.read(path).shape == (thumbnails.SIDE, thumbnails.SIDE, 3) for path in paths)


def test_every_material_that_ships_has_a_thumbnail():
    models = [model for model in Library().models() if model.path.parent == BUNDLED]
    missing = [
        m.name for model in models for m in model.card.materials if not thumbnails.shipped(model, m.name).is_file()
    ]
    assert models and not missing
