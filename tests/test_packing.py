import numpy as np
import pytest

from core import images
from core.maps import CHANNELS, Maps
from core.packing import ENGINES, pack


def flat(**values):
    return Maps({name: np.full((4, 6, CHANNELS[name]), value, np.float32) for name, value in values.items()})


EVERY = {"albedo": 0.2, "normal": 0.25, "height": 0.4, "roughness": 0.3, "metallic": 0.1, "ao": 0.9}


def channels(picture):
    return picture.pixels[0, 0].round(3).tolist()


@pytest.mark.parametrize("engine", ["gltf", "unreal", "godot"])
def test_occlusion_roughness_and_metalness_share_a_file(engine):
    packed = {
        name: picture
        for name, picture in pack(flat(**EVERY), engine, "oak").items()
        if name.lower().endswith("_orm.png")
    }
    (orm,) = packed.values()
    assert channels(orm) == pytest.approx([0.9, 0.3, 0.1])


def test_unity_wants_smoothness_in_the_alpha_of_its_mask():
    assert channels(pack(flat(**EVERY), "unity", "oak")["oak_MaskMap.png"]) == pytest.approx([0.1, 0.9, 1, 0.7])


@pytest.mark.parametrize(
    ("engine", "normal", "green"), [("unreal", None, 0.75), ("unity", None, 0.25), ("unity", "dx", 0.75)]
)
def test_normals_face_as_the_engine_expects_or_as_asked(engine, normal, green):
    pictures = pack(flat(**EVERY), engine, "oak", normal)
    (found,) = (p for name, p in pictures.items() if name.lower().endswith(("_n.png", "_normal.png")))
    assert channels(found) == pytest.approx([0.25, green, 0.25])


def test_a_map_that_is_not_there_makes_no_file_and_is_neutral_in_a_packed_one():
    pictures = pack(flat(albedo=0.2, roughness=0.3), "gltf", "oak")
    assert set(pictures) == {"oak_baseColor.png", "oak_orm.png"}
    assert channels(pictures["oak_orm.png"]) == pytest.approx([1, 0.3, 0])


def test_unreal_names_start_with_t():
    assert all(name.startswith("T_oak_") for name in pack(flat(**EVERY), "unreal", "oak"))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_height_keeps_16_bits_and_everything_can_be_written(engine, tmp_path):
    pictures = pack(flat(**EVERY), engine, "oak")
    assert {16 if "height" in n.lower() or n.endswith("_H.png") else 8 for n in pictures} == {
        picture.depth for picture in pictures.values()
    }
    assert all(path.is_file() for path in images.write_all(tmp_path, pictures, {}))
