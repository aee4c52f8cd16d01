"""Style, variation and motion in Blender."""

import bpy
import numpy as np
import pytest
from verbs import MAPS, arrays, command_line, count, generate, part, refused, same, worn


@pytest.fixture
def styled(cube):
    """The scene's settings, with a style switched on."""
    settings = bpy.context.scene.tessera
    settings.use_style, settings.style = True, "woodcut"
    return settings


def test_a_style_redraws_the_texture_and_is_remembered(styled):
    generate(size="256")
    with_style = arrays(worn())
    assert part("materials").recall(worn()).recipe.steps[0].style == "woodcut"
    bpy.ops.tessera.regenerate()
    assert same(with_style, arrays(worn()))
    styled.use_style = False
    generate(size="256")
    assert np.abs(with_style["albedo"] - arrays(worn())["albedo"]).mean() > 0.05


def test_the_command_line_gives_the_same_styled_pixels(styled, tmp_path):
    generate(size="256")
    words = ("fieldstone", "--seed", "7", "--size", "256", "--style", "woodcut", "--out", tmp_path / "out", "--quiet")
    command_line("generate", *words)
    image = bpy.data.images.load(str(tmp_path / "out" / "fieldstone_7_albedo.png"))
    assert np.array_equal(part("pixels").read(image, "albedo"), arrays(worn())["albedo"])


def test_a_picture_of_ones_own_is_a_style(styled, tmp_path):
    image = bpy.data.images.new("style", 128, 128)
    image.pixels.foreach_set(np.random.default_rng(0).random(128 * 128 * 4, dtype=np.float32))
    image.filepath_raw = str(tmp_path / "style.png")
    image.save()
    styled.style = "OWN"
    assert "No picture is chosen" in refused(generate, size="256")
    styled.style_path = image.filepath_raw
    assert generate(size="256") == {"FINISHED"}
    styled.style_path = str(tmp_path / "gone.png")
    assert "no style" in refused(generate, size="256")


def test_every_built_in_style_has_a_picture(scene):
    assert {item[0] for item in part("gallery").styles("OWN")} == {"OWN", *part("core.style_pictures").names()}


def test_vary_lays_the_material_anew_and_does_not_pile_up(cube):
    generate(size="256")
    first = arrays(worn())
    bpy.ops.tessera.vary(amount=0.6, seed=3)
    second = arrays(worn())
    bpy.ops.tessera.vary(amount=0.6, seed=4)
    assert not same(first, second) and not same(second, arrays(worn()))
    assert len(part("materials").recall(worn()).recipe.steps) == 1
    bpy.ops.tessera.regenerate()
    bpy.ops.tessera.vary(amount=0.6, seed=3)
    assert same(second, arrays(worn()))


def test_upscaling_adds_pixels_and_a_new_size_begins_anew(cube):
    generate(size="256")
    small, mapping = arrays(worn()), worn().node_tree.nodes["Tessera mapping"].inputs["Scale"]
    metres = tuple(mapping.default_value)
    for side in (512, 1024):
        assert bpy.ops.tessera.upscale() == {"FINISHED"}
        large = arrays(worn())
        assert large["albedo"].shape[0] == side and tuple(mapping.default_value) == pytest.approx(metres)
    again = large["albedo"].reshape(256, 4, 256, 4, 3).mean((1, 3))
    assert np.abs(again - small["albedo"]).mean() < 0.05
    assert "upscaled twice" in refused(bpy.ops.tessera.upscale)
    bpy.ops.tessera.regenerate(size="256")
    assert same(small, arrays(worn()))


@pytest.fixture
def moving(cube, tmp_path):
    """Settings for a short animation into a folder."""
    part("preferences").preferences().folder = str(tmp_path / "frames")
    settings = bpy.context.scene.tessera
    settings.motion, settings.frames, settings.animation_size = "flow", 3, "256"
    return settings


def test_an_animation_is_sequences_that_begin_again(moving, tmp_path):
    assert bpy.ops.tessera.animate() == {"FINISHED"}
    nodes = worn().node_tree.nodes
    for name in MAPS:
        image, user = nodes[f"Tessera {name}"].image, nodes[f"Tessera {name}"].image_user
        assert image.source == "SEQUENCE" and image.filepath.endswith(f"_{name}_0001.png")
        assert (user.frame_duration, user.use_cyclic, user.use_auto_refresh) == (3, True, True)
    assert len(list((tmp_path / "frames").iterdir())) == 3 * len(MAPS)


def test_a_still_takes_the_place_of_an_animation(moving):
    bpy.ops.tessera.animate()
    generate()
    image, user = (getattr(worn().node_tree.nodes["Tessera albedo"], key) for key in ("image", "image_user"))
    assert image.source == "FILE" and not user.use_auto_refresh


def test_an_animation_regenerates_from_its_recipe(moving, tmp_path):
    bpy.ops.tessera.animate()
    bpy.ops.tessera.regenerate(size="128")
    image = worn().node_tree.nodes["Tessera albedo"].image
    assert image.source == "SEQUENCE"
    assert tuple(bpy.data.images.load(image.filepath).size) == (128, 128)


def test_an_animation_plays_and_begins_again(moving):
    bpy.context.scene.tessera.mode = "FIT"
    bpy.ops.tessera.animate()
    seen = [baked_at(frame) for frame in (1, 2, 4)]
    assert np.abs(seen[0] - seen[1]).mean() > 0.003 and np.array_equal(seen[0], seen[2])


def baked_at(frame):
    """The colours that the cube shows at a frame; its material stays."""
    cube = bpy.context.object
    material = worn()
    bpy.context.scene.frame_set(frame)
    bpy.ops.tessera.bake(size=64)
    colours = arrays(worn())["albedo"]
    cube.material_slots[0].material = material
    return colours


def test_an_animated_material_is_varied_exported_and_marked(moving, tmp_path):
    bpy.ops.tessera.animate()
    assert bpy.ops.tessera.export(folder=str(tmp_path / "out"), engine="plain") == {"FINISHED"}
    assert bpy.ops.tessera.mark_asset() == {"FINISHED"}
    assert bpy.ops.tessera.vary(amount=0.5, seed=1) == {"FINISHED"}
    assert worn().node_tree.nodes["Tessera albedo"].image.source == "SEQUENCE"
    for path in (tmp_path / "frames").iterdir():
        path.unlink()
    assert "is missing" in refused(bpy.ops.tessera.export, folder=str(tmp_path / "out"))


def test_a_coat_grows_over_the_material(moving):
    moving.motion, moving.coat = "growth", "lawn"
    assert bpy.ops.tessera.animate() == {"FINISHED"}
    assert part("materials").recall(worn()).recipe.animation.coat == "lawn"


def test_an_animation_needs_a_folder(moving):
    part("preferences").preferences().folder = "//textures"
    before = count()
    assert "not saved yet" in refused(bpy.ops.tessera.animate)
    assert count() == before


def test_headless_animates_as_well(moving, tmp_path, capfd):
    words = ["animate", "fieldstone", "--motion", "flow", "--frames", "2", "--size", "64", "--images", tmp_path / "f"]
    assert part("headless").main([str(word) for word in words]) == 0
    assert worn().node_tree.nodes["Tessera albedo"].image.source == "SEQUENCE"
