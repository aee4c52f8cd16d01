"""What can be done with a material that was generated: remember, regenerate, export, bake, mark as an asset."""

import json
import shutil

import bpy
import numpy as np
import pytest
from verbs import MAPS, arrays, count, generate, part, refused, same, worn


def reload(path):
    """Save the file, open another, and open it again."""
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.ops.wm.open_mainfile(filepath=str(path))


def test_a_material_regenerates_at_another_size_after_the_file_was_opened_again(cube, tmp_path):
    generate("red_brick", seed=5)
    bpy.context.scene.tessera.material = "lawn"  # the panel's settings do not matter
    reload(tmp_path / "a.blend")
    assert bpy.ops.tessera.regenerate(size="128") == {"FINISHED"}
    assert {tuple(i.size) for i in part("materials").images_of(worn()).values()} == {(128, 128)}
    assert part("materials").recall(worn()).recipe.material == "red_brick"


def test_regenerating_at_the_same_size_gives_the_same_pixels(cube, tmp_path):
    generate(seed=5)
    before = arrays(worn())
    reload(tmp_path / "a.blend")
    bpy.ops.tessera.regenerate()
    assert same(before, arrays(worn()))


def test_a_larger_size_keeps_the_stones_as_large(cube):
    generate()
    scale = worn().node_tree.nodes["Tessera mapping"].inputs["Scale"]
    small = scale.default_value[0]
    bpy.ops.tessera.regenerate(size="128")
    assert scale.default_value[0] == pytest.approx(small / 2)


def test_regenerating_brings_missing_images_back(cube, tmp_path):
    wanted = part("preferences").preferences()
    wanted.storage, wanted.folder = "FOLDER", str(tmp_path / "images")
    generate()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    shutil.rmtree(tmp_path / "images")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    assert "is missing" in refused(bpy.ops.tessera.export, folder=str(tmp_path / "out"))
    bpy.ops.tessera.regenerate()
    assert set(arrays(worn())) == set(MAPS)


def test_a_recipe_of_a_stranger_is_checked(cube):
    generate()
    memory = json.loads(worn()["tessera"])
    huge = json.dumps(memory).replace(json.dumps(memory["relief"]), "1" * 400)
    for broken in ("", "[]", "nonsense", huge, json.dumps(memory | {"recipe": {"source": {"material": 3}}})):
        worn()["tessera"] = broken
        assert "cannot be read" in refused(bpy.ops.tessera.regenerate)
    for places in (5, None, ["a"], {}):
        worn()["tessera"] = json.dumps(memory | {"coordinates": {"metres": places, "closed": places}})
        assert bpy.ops.tessera.regenerate() == {"FINISHED"}


def test_the_panel_can_be_set_to_what_a_material_remembers(cube):
    generate("red_brick", seed=5, size="128x64", morph="lawn", amount=0.25)
    settings = bpy.context.scene.tessera
    bpy.ops.tessera.recall()
    found = (settings.material, settings.seed, settings.size, settings.width, settings.height, settings.morph)
    assert found == ("red_brick", 5, "CUSTOM", 128, 64, "lawn") and settings.amount == pytest.approx(0.25)


def test_recalling_switches_a_style_on_or_off(cube):
    settings = bpy.context.scene.tessera
    generate(size="256")
    settings.use_style, settings.style, settings.strength = True, "rust", 0.6
    bpy.ops.tessera.recall()
    assert not settings.use_style
    settings.use_style = True
    generate(size="256")
    settings.use_style, settings.style = False, "woven"
    bpy.ops.tessera.recall()
    assert settings.use_style and settings.style == "rust" and settings.strength == pytest.approx(0.6)


@pytest.mark.parametrize("name", ["recall", "regenerate", "vary", "mark_asset"])
def test_a_baked_material_has_no_recipe_and_says_so(cube, name):
    generate()
    bpy.ops.tessera.bake(size=64)
    assert "does not remember a recipe" in refused(getattr(bpy.ops.tessera, name))
    assert worn().asset_data is None


def test_a_recipe_of_a_stranger_reads_nothing_outside_the_files_folder(cube, tmp_path):
    generate(size="256")
    memory = json.loads(worn()["tessera"])
    for number, change in enumerate(
        ({"steps": [{"do": "stylize", "style": "/etc/hostname"}]}, {"steps": [{"do": "blend", "other": "../x"}]})
    ):
        worn()["tessera"] = json.dumps(memory | {"recipe": memory["recipe"] | change})
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / f"{number}.blend"))
        assert "if you trust it" in refused(bpy.ops.tessera.regenerate)


def test_a_material_whose_images_were_removed_regenerates(cube):
    generate()
    for image in part("materials").images_of(worn()).values():
        bpy.data.images.remove(image)
    bpy.ops.tessera.regenerate()
    assert set(arrays(worn())) == set(MAPS)


def test_an_own_picture_in_one_of_our_nodes_is_not_thrown_away(cube):
    generate()
    worn().node_tree.nodes["Tessera albedo"].image = bpy.data.images.new("painted", 8, 8)
    generate(seed=8)
    assert "painted" in bpy.data.images


def test_images_beside_the_file_are_found_after_the_folder_was_moved(cube, tmp_path):
    wanted = part("preferences").preferences()
    wanted.storage, wanted.folder = "FOLDER", "//textures"
    (tmp_path / "project").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "project" / "a.blend"))
    generate()
    bpy.ops.wm.save_mainfile()
    (tmp_path / "project").rename(tmp_path / "moved")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "moved" / "a.blend"))
    assert set(arrays(worn())) == set(MAPS)


def test_a_material_with_nothing_for_an_engine_is_told(cube, tmp_path):
    bpy.context.scene.tessera.maps = {"height"}
    generate()
    assert "none of the maps that glTF takes" in refused(bpy.ops.tessera.export, folder=str(tmp_path), engine="gltf")


@pytest.mark.parametrize("engine", ["plain", "gltf", "unreal", "unity", "godot"])
def test_the_maps_are_exported_for_an_engine(cube, core, tmp_path, engine):
    generate()
    bpy.ops.tessera.export(folder=str(tmp_path), engine=engine)
    expected = core.packing.pack(part("materials").maps_of(worn()), engine, "fieldstone")
    assert {path.name for path in tmp_path.iterdir()} == set(expected)


def test_exported_normals_can_be_turned(cube, tmp_path):
    generate()
    for normal in ("gl", "dx"):
        bpy.ops.tessera.export(folder=str(tmp_path / normal), engine="plain", normal=normal)
    files = [(tmp_path / normal / "fieldstone_normal.png").read_bytes() for normal in ("gl", "dx")]
    assert files[0] != files[1]


def test_an_asset_has_preview_tags_and_catalog(cube, tmp_path):
    generate("red_brick", size="128")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.tessera.mark_asset()
    data = worn().asset_data
    assert {"Tessera", "red_brick"} <= {tag.name for tag in data.tags}
    assert tuple(worn().preview.image_size) == (256, 256) and np.ptp(np.array(worn().preview.image_pixels_float)) > 0.2
    assert data.catalog_id in (tmp_path / "blender_assets.cats.txt").read_text()


def test_an_asset_marked_again_forgets_what_it_was(cube):
    generate("red_brick")
    bpy.ops.tessera.mark_asset()
    worn().asset_data.tags.new("my own")
    generate("lawn")
    bpy.ops.tessera.mark_asset()
    tags = {tag.name for tag in worn().asset_data.tags}
    assert "lawn" in tags and "my own" in tags and "red_brick" not in tags


def test_an_asset_is_not_marked_when_its_catalog_cannot_be_written(cube, tmp_path):
    generate()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    (tmp_path / "blender_assets.cats.txt").mkdir()
    assert refused(bpy.ops.tessera.mark_asset) and worn().asset_data is None


def test_catalogs_of_others_are_kept(cube, tmp_path):
    path = tmp_path / "blender_assets.cats.txt"
    path.write_text("VERSION 1\n\n0e7cd1d4-0000-0000-0000-000000000000:Mine:Mine\n")
    for _ in range(2):
        part("assets").write_catalogs(tmp_path, ["stone", "wood"])
    lines = [line for line in path.read_text().splitlines() if line]
    assert len(lines) == 4 and lines[1].endswith(":Mine:Mine")


def test_baking_onto_the_uv_map_gives_what_the_material_shows(cube, monkeypatch):
    monkeypatch.setattr(part("baking"), "_MARGIN", 0)
    bpy.context.scene.tessera.mode = "FIT"  # the UV map and the maps are then one and the same
    generate(size="128")
    before = arrays(worn())
    bpy.ops.tessera.bake(size=128)
    baked = arrays(worn())
    assert worn().name == "Cube baked" and set(baked) == {"albedo", "normal", "roughness", "metallic"}
    used = baked["roughness"][..., 0] > 0
    assert 0.3 < used.mean() < 0.5  # the cube's faces cover six sixteenths of its UV map
    for name in ("albedo", "normal", "roughness"):
        assert np.abs(baked[name] - before[name])[used].mean() < 0.01


def test_baking_leaves_everything_else_as_it_was(cube):
    generate()
    made, before, engine = worn(), count(), bpy.context.scene.render.engine
    tree = {node.name for node in made.node_tree.nodes}
    bpy.ops.tessera.bake(size=256)
    grown = {kind: count()[kind] - before[kind] for kind in before}
    assert grown == {"materials": 1, "images": 4, "node_groups": 0, "textures": 0, "objects": 0, "meshes": 0}
    assert bpy.context.scene.render.engine == engine and {node.name for node in made.node_tree.nodes} == tree
    assert bpy.context.selected_objects == [cube] and made.name in bpy.data.materials


def test_baked_over_materials_stay_in_the_file(cube, tmp_path):
    generate()
    former = worn().name
    bpy.ops.tessera.bake(size=64)
    reload(tmp_path / "a.blend")
    assert former in bpy.data.materials and worn().name == "Cube baked"


@pytest.mark.skipif(bpy.app.version >= (5, 0, 0), reason="every material has nodes")
def test_a_material_without_nodes_is_baked_in_its_colours(cube):
    plain = bpy.data.materials.new("plain")
    plain.diffuse_color, plain.roughness = (1, 0, 0, 1), 0.25
    cube.material_slots[0].material = plain
    bpy.ops.tessera.bake(size=64)
    baked, used = arrays(worn()), arrays(worn())["roughness"][..., 0] > 0
    assert np.allclose(baked["albedo"][used].mean(0), (1, 0, 0), atol=0.01)
    assert baked["roughness"][used].mean() == pytest.approx(0.25, abs=0.01)


def test_what_is_not_one_principled_shader_is_not_baked_wrongly(cube):
    tree = worn(cube).node_tree
    diffuse = tree.nodes.new("ShaderNodeBsdfDiffuse")
    tree.links.new(diffuse.outputs["BSDF"], tree.nodes["Material Output"].inputs["Surface"])
    assert "not one Principled BSDF" in refused(bpy.ops.tessera.bake, size=64)


def test_the_baked_material_shows_the_uv_map_it_was_baked_onto(cube):
    generate()
    cube.data.uv_layers.new(name="bake")  # earlier references to layers are no longer valid
    cube.data.uv_layers["UVMap"].active_render = True
    cube.data.uv_layers.active = cube.data.uv_layers["bake"]
    bpy.ops.tessera.bake(size=64)
    assert worn().node_tree.nodes["Tessera coordinates"].uv_map == "bake"


def test_baking_does_not_follow_the_scenes_own_settings(cube):
    generate(size="128")
    bake = bpy.context.scene.render.bake
    bake.normal_space, bake.use_selected_to_active, bake.target = "OBJECT", True, "VERTEX_COLORS"
    bpy.ops.tessera.bake(size=64)
    assert arrays(worn())["normal"][..., 2].mean() > 0.8  # tangent space looks up


def test_baking_one_of_two_that_share_a_mesh_dresses_one(cube):
    generate()
    twin = cube.copy()
    bpy.context.collection.objects.link(twin)
    former = worn(twin)
    bpy.ops.tessera.bake(size=64)
    assert worn(cube).name == "Cube baked" and worn(twin) == former


def test_an_object_without_a_uv_map_cannot_be_baked_onto(cube):
    generate()
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    before = count()
    assert "unwrap it first" in refused(bpy.ops.tessera.bake, size=64)
    assert count() == before
