"""What the button does, and that scripts and the command line do the same."""

from pathlib import Path

import bpy
import numpy as np
import pytest
from verbs import MAPS, arrays, command_line, count, generate, linked, part, refused, same, worn


def test_the_button_the_function_and_the_command_line_give_the_same_pixels(cube, core, tmp_path):
    generate(size="128x64")
    recipe = core.recipe.from_dict({"source": {"material": "fieldstone", "seed": 7, "size": "128x64"}})
    run = core.pipeline.run(recipe, core.library.Library(), core.sessions.Sessions())
    made = part("core.progress").finish(run)
    command_line("generate", "fieldstone", "--seed", "7", "--size", "128x64", "--out", tmp_path / "out", "--quiet")
    files = {name: read_file(tmp_path / "out" / f"fieldstone_7_{name}.png", name) for name in MAPS}
    assert same(arrays(worn()), files)
    assert same(arrays(worn()), dict(made.maps), tolerance=0.5001 / 255)


def read_file(path, name):
    image = bpy.data.images.load(str(path))
    image.colorspace_settings.name = part("pixels").colour_space(name)
    return part("pixels").read(image, name)


def test_headless_gives_the_same_pixels_as_the_button(cube):
    generate()
    by_button = arrays(worn())
    assert part("headless").main(["generate", "fieldstone", "--seed", "7", "--size", "64", "--new", "--quiet"]) == 0
    assert worn().name == "fieldstone.001" and same(by_button, arrays(worn()))


def test_all_maps_are_connected_and_have_their_colour_space(cube):
    generate()
    nodes = worn().node_tree.nodes
    shader = nodes["Principled BSDF"]
    assert linked(shader, "Base Color") == "Tessera albedo" and linked(shader, "Roughness") == "Tessera roughness"
    assert linked(shader, "Metallic") == "Tessera metallic" and linked(shader, "Normal") == "Tessera normal map"
    spaces = {name: nodes[f"Tessera {name}"].image.colorspace_settings.name for name in MAPS}
    assert spaces.pop("albedo") == "sRGB" and set(spaces.values()) == {"Non-Color"}


def test_one_mapping_node_scales_every_map(cube):
    generate()
    nodes = worn().node_tree.nodes
    assert {linked(nodes[f"Tessera {name}"], "Vector") for name in MAPS} == {"Tessera mapping"}
    assert linked(nodes["Tessera mapping"], "Vector") == "Tessera coordinates"


def test_nodes_do_not_lie_on_each_other(cube):
    generate()
    places = [tuple(node.location) for node in worn().node_tree.nodes]
    assert all(abs(a[0] - b[0]) >= 200 or abs(a[1] - b[1]) >= 150 for a in places for b in places if a is not b)


def test_stones_are_as_large_as_in_the_world_whatever_the_object(cube):
    generate()
    small = worn().node_tree.nodes["Tessera mapping"].inputs["Scale"].default_value[0]
    cube.scale = (2, 2, 2)
    bpy.context.view_layer.update()
    bpy.context.scene.tessera.new_material = True
    generate()
    assert worn().node_tree.nodes["Tessera mapping"].inputs["Scale"].default_value[0] == pytest.approx(2 * small)


def repeats(obj):
    generate()
    return tuple(worn(obj).node_tree.nodes["Tessera mapping"].inputs["Scale"].default_value)[:2]


def test_on_a_ball_the_texture_is_not_stretched_and_meets_itself(scene):
    bpy.ops.mesh.primitive_uv_sphere_add(radius=3)
    across, down = repeats(bpy.context.object)
    assert across == round(across) and across / down == pytest.approx(np.pi / 2, rel=0.1)


def test_a_wide_object_with_a_square_uv_map_gets_more_repeats_across(scene):
    bpy.ops.mesh.primitive_plane_add(size=2)
    bpy.context.object.scale.x = 3
    bpy.context.view_layer.update()
    across, down = repeats(bpy.context.object)
    assert across == pytest.approx(3 * down)


def test_generating_again_updates_the_material_in_place(cube):
    generate()
    first, former = worn(), {image.name for image in part("materials").images_of(worn()).values()}
    before = count()
    generate("lawn", seed=8)
    assert worn() == first and first.name == "lawn" and count() == before
    assert not former & {image.name for image in bpy.data.images}


def test_what_the_artist_rewired_and_scaled_stays(cube):
    generate()
    tree = worn().node_tree
    ramp = tree.nodes.new("ShaderNodeValToRGB")
    tree.links.new(ramp.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
    tree.nodes["Tessera mapping"].inputs["Scale"].default_value[0] *= 3
    wanted = tree.nodes["Tessera mapping"].inputs["Scale"].default_value[0]
    generate(seed=9)
    assert linked(tree.nodes["Principled BSDF"], "Base Color") == ramp.name
    assert tree.nodes["Tessera mapping"].inputs["Scale"].default_value[0] == pytest.approx(wanted)


def test_in_edit_mode_the_material_is_put_on_as_well(cube):
    bpy.ops.object.mode_set(mode="EDIT")
    assert generate() == {"FINISHED"}
    in_edit_mode = tuple(worn().node_tree.nodes["Tessera mapping"].inputs["Scale"].default_value)
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.context.scene.tessera.new_material = True
    generate()
    assert tuple(worn().node_tree.nodes["Tessera mapping"].inputs["Scale"].default_value) == in_edit_mode


def test_the_uv_map_that_renders_is_measured(cube):
    shown = repeats(cube)
    cube.data.uv_layers.new(name="small")
    for corner in cube.data.uv_layers["small"].data:
        corner.uv *= 0.1
    cube.data.uv_layers.active = cube.data.uv_layers["small"]
    cube.data.uv_layers["UVMap"].active_render = True
    bpy.context.scene.tessera.new_material = True
    assert repeats(cube) == shown


@pytest.mark.parametrize("name", ["albedo", "mapping", "coordinates", "normal map"])
def test_a_node_of_ours_that_became_another_kind_is_made_anew(cube, name):
    generate()
    tree = worn().node_tree
    tree.nodes.remove(tree.nodes[f"Tessera {name}"])
    tree.nodes.new("ShaderNodeRGB").name = f"Tessera {name}"
    assert generate(seed=8) == {"FINISHED"} and set(arrays(worn())) == set(MAPS)


def test_a_new_output_shows_the_shader(cube):
    generate()
    tree = worn().node_tree
    tree.nodes.remove(tree.nodes["Material Output"])
    generate()
    assert linked(tree.get_output_node("ALL"), "Surface") == "Principled BSDF"


def test_a_node_group_of_the_same_name_and_another_kind_is_left_alone(cube):
    bpy.data.node_groups.new("glTF Material Output", "GeometryNodeTree")
    assert generate() == {"FINISHED"}


@pytest.mark.parametrize("amount", [0.1, 0.3])
def test_an_amount_is_the_one_that_was_typed(cube, amount):
    generate(morph="lawn", amount=amount)
    assert part("materials").recall(worn()).recipe.amount == amount


def test_without_a_map_to_make_the_panel_says_so(cube):
    bpy.context.scene.tessera.maps = set()
    assert "No map is chosen" in refused(generate)


def test_a_model_that_is_gone_is_one_sentence(cube, core, tmp_path):
    import shutil

    shutil.copy(core.library.BUNDLED / "atlas.onnx", tmp_path)
    part("preferences").preferences().models_folder = str(tmp_path)
    generate()
    part("engine").release()
    (tmp_path / "atlas.onnx").unlink()
    assert "is gone" in refused(generate)


def test_every_selected_object_wears_the_same_material(cube):
    bpy.ops.mesh.primitive_uv_sphere_add()
    cube.select_set(True)
    generate()
    assert worn(cube) == worn(bpy.data.objects["Sphere"]) and worn(cube).users == 2


def test_the_material_that_was_worn_stays_in_the_file(cube):
    former = worn()
    generate()
    assert worn() != former and former.use_fake_user


def test_without_a_uv_map_the_maps_are_projected_from_a_box(cube):
    while cube.data.uv_layers:
        cube.data.uv_layers.remove(cube.data.uv_layers[0])
    generate()
    nodes = worn().node_tree.nodes
    assert nodes["Tessera albedo"].projection == "BOX"
    assert nodes["Tessera mapping"].inputs["Vector"].links[0].from_socket.name == "Generated"
    assert linked(nodes["Principled BSDF"], "Normal") == "Tessera bump"  # normal maps need a UV map's tangents


@pytest.mark.parametrize(
    ("relief", "target"), [("NORMAL", "Tessera normal map"), ("BUMP", "Tessera bump"), ("DISPLACEMENT", None)]
)
def test_one_source_of_relief_is_connected(cube, relief, target):
    bpy.context.scene.tessera.relief = relief
    generate()
    nodes = worn().node_tree.nodes
    assert linked(nodes["Principled BSDF"], "Normal") == target
    moved = linked(nodes["Material Output"], "Displacement")
    assert moved == ("Tessera displacement" if relief == "DISPLACEMENT" else None)


def test_the_relief_has_its_true_depth(cube, core):
    bpy.context.scene.tessera.relief = "BUMP"
    generate()
    memory = part("materials").recall(worn())
    material = core.library.Library().materials()["fieldstone"]
    depth = memory.relief * material.metres / material.pixels
    assert worn().node_tree.nodes["Tessera bump"].inputs["Distance"].default_value == pytest.approx(depth)


def test_maps_that_are_not_wanted_are_not_made_and_go_when_unwanted(cube):
    generate()
    bpy.context.scene.tessera.maps = {"albedo", "normal"}
    generate()
    assert set(part("materials").images_of(worn())) == {"albedo", "normal"}
    assert "Tessera height" not in worn().node_tree.nodes


def test_a_morph_is_made_and_named_after_both(cube):
    generate(morph="lawn", amount=0.5)
    alone = arrays(worn())
    assert worn().name == "fieldstone-lawn"
    generate(seed=7)
    assert np.abs(alone["albedo"] - arrays(worn())["albedo"]).mean() > 0.02


@pytest.mark.parametrize("format", ["PNG", "PNG16", "EXR"])
@pytest.mark.parametrize("storage", ["PACKED", "FOLDER"])
def test_images_are_kept_as_the_preferences_say(cube, tmp_path, format, storage):
    wanted = part("preferences").preferences()
    wanted.format, wanted.storage, wanted.folder = format, storage, str(tmp_path)
    generate()
    found = part("materials").images_of(worn())
    assert len(found) == 6 and all(bool(i.packed_file) == (storage == "PACKED") for i in found.values())
    assert len(list(tmp_path.iterdir())) == (6 if storage == "FOLDER" else 0)
    rough = found["roughness"]
    data = rough.packed_file.data if storage == "PACKED" else Path(rough.filepath).read_bytes()
    depths = {"PNG": b"\x08", "PNG16": b"\x10"}  # the byte that follows width and height in a PNG file
    assert data[24:25] == depths[format] if format in depths else data[:4] == b"\x76\x2f\x31\x01"


def test_every_format_holds_the_same_colours(cube):
    wanted, found = part("preferences").preferences(), []
    for format in ("PNG", "PNG16", "EXR"):
        wanted.format = format
        generate()
        found.append(arrays(worn()))
    assert same(found[0], found[1], 0.51 / 255) and same(found[1], found[2], 2e-4)


def test_an_unknown_material_is_one_sentence_and_changes_nothing(cube):
    before, former = count(), worn()
    said = refused(generate, "fieldstoned")
    assert "did you mean fieldstone" in said and "\n" not in said
    assert count() == before and worn() == former and part("jobs").message() == said


@pytest.mark.parametrize(
    ("given", "words"),
    [({"size": "65"}, "multiple of 8"), ({"size": "0"}, "from 1 to"), ({"morph": "lawns"}, "did you mean lawn")],
)
def test_a_wrong_request_is_one_sentence(cube, given, words):
    assert words in refused(generate, **given)


def test_a_camera_wears_nothing(scene):
    camera = bpy.data.objects["Camera"]
    for obj in bpy.context.selected_objects:
        obj.select_set(False)
    camera.select_set(True)
    bpy.context.view_layer.objects.active = camera
    assert "wears no material" in refused(generate)


def test_an_unwritable_folder_is_told_and_nothing_changes(cube, tmp_path):
    (tmp_path / "file").write_text("")
    wanted = part("preferences").preferences()
    wanted.storage, wanted.folder = "FOLDER", str(tmp_path / "file" / "deep")
    before = count()
    assert "another folder" in refused(generate)
    assert count() == before


def test_a_folder_beside_a_file_that_was_never_saved_is_told(cube):
    part("preferences").preferences().storage = "FOLDER"
    assert "not saved yet" in refused(generate)


def test_linked_objects_and_materials_are_left_alone(cube, tmp_path):
    generate()
    path = tmp_path / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    with bpy.data.libraries.load(str(path), link=True) as (_, there):
        there.objects, there.materials = ["Cube"], ["fieldstone"]
    linked_cube = bpy.data.objects["Cube"]
    bpy.context.scene.collection.objects.link(linked_cube)
    bpy.context.view_layer.objects.active = linked_cube
    assert "linked from another file" in refused(generate)
    bpy.ops.mesh.primitive_cube_add()
    bpy.context.object.data.materials.append(bpy.data.materials["fieldstone", str(path)])
    generate(seed=8)
    assert worn().library is None and worn().name.startswith("fieldstone")


def test_two_hundred_generations_leave_nothing_behind(cube):
    resource = pytest.importorskip("resource")
    for seed in range(20):
        generate(seed=seed)
    before, memory = count(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(20, 220):
        generate(seed=seed)
    assert count() == before
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 30_000  # KiB
