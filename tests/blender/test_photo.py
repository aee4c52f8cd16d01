"""From a photo to a material: the panel's way, the script's, and `blender -c tessera photo`."""

import json
import time
from dataclasses import replace

import bpy
import numpy as np
import pytest
from verbs import arrays, command_line, count, draw, generate, part, refused, same, worn

DERIVED = {"albedo", "normal", "height", "roughness", "ao"}
PARTS = ("even", "seamless", "maps", "upscale")


@pytest.fixture
def photo(core, tmp_path):
    """Path of a picture of 320 x 240 pixels that does not tile: spots on a ground that is lighter to the right."""
    return saved(core, tmp_path / "My photo.png", 240, 320)


def saved(core, path, height, width):
    spots = np.random.default_rng(1).uniform(0.6, 1, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
    pixels = spots * np.linspace(0.3, 0.9, width)[None, :, None]
    core.images.write(path, core.images.Picture(pixels.astype(np.float32)))
    return path


@pytest.fixture
def settings(scene, photo):
    """The scene's settings, which ask for the photo at 128 pixels, cropped and nothing else."""
    settings = scene.tessera
    settings.photo_path, settings.size, settings.width, settings.height = str(photo), "CUSTOM", 128, 128
    leave_out(settings, *PARTS)
    return settings


def leave_out(settings, *parts):
    for name in PARTS:
        setattr(settings, f"photo_{name}", name not in parts)


def from_photo(**given):
    """Click the button, as a script does."""
    return bpy.ops.tessera.from_photo(**given)


def recipe():
    return part("materials").recall(worn()).recipe


def steps():
    return [type(step).__name__ for step in recipe().steps]


def size():
    return arrays(worn())["albedo"].shape[1::-1]


def test_a_photo_becomes_a_material_with_all_maps(cube, settings):
    leave_out(settings)
    assert from_photo() == {"FINISHED"}
    assert worn().name == "My_photo" and set(arrays(worn())) == DERIVED and size() == (128, 128)
    albedo = arrays(worn())["albedo"]
    across = np.abs(np.diff(albedo, axis=1)).mean()
    assert np.abs(albedo[:, 0] - albedo[:, -1]).mean() < 2 * across


def test_only_the_maps_asked_for_are_made(cube, settings):
    leave_out(settings, "seamless")
    settings.maps = {"normal", "metallic"}
    from_photo()
    assert set(arrays(worn())) == {"normal"}
    settings.maps = {"metallic"}
    assert "switch Albedo on" in refused(from_photo)


@pytest.mark.parametrize("left_out", [PARTS, ()])
def test_the_button_the_function_and_the_command_line_give_the_same_pixels(cube, core, settings, tmp_path, left_out):
    leave_out(settings, *left_out)
    from_photo()
    words = ("photo", settings.photo_path, "--size", "128", "--without", ",".join(left_out), "--quiet")
    command_line(*words, "--out", tmp_path / "out")
    run = core.pipeline.run(recipe(), core.library.Library(), core.sessions.Sessions())
    made = part("core.progress").finish(run)
    by_line = dict(core.folders.read_folder(tmp_path / "out"))
    assert same(arrays(worn()), by_line) and same(by_line, dict(made.maps), tolerance=0.5001 / 255)


def test_headless_gives_the_same_pixels_as_the_button(cube, settings, tmp_path):
    leave_out(settings, "seamless", "maps")
    from_photo()
    by_button = arrays(worn())
    words = ("--size", "128", "--without", "seamless,maps", "--object", "Cube", "--new", "--quiet")
    assert headless("photo", settings.photo_path, *words, "--save", tmp_path / "out.blend") == 0
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "out.blend"))
    assert worn().name == "My_photo.001" and same(by_button, arrays(worn()))


def headless(*words):
    return part("headless").main([str(word) for word in words])


def test_a_photo_is_found_by_headless_wherever_it_runs(cube, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert headless("photo", photo.name, "--size", "64", "--without", ",".join(PARTS), "--quiet") == 0
    assert recipe().path == str(photo)


WRONG = {
    ("photo", "gone.png"): "no file",
    ("photo", "."): "is a folder",
    ("photo",): "required: PHOTO",
    ("photo", "My photo.png", "--without", "sharpen"): "no step 'sharpen'",
    ("photo", "My photo.png", "--mask", "gone.png"): "no mask",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_headless_mistakes_are_one_sentence_and_status_2(cube, photo, tmp_path, monkeypatch, capfd, words):
    monkeypatch.chdir(tmp_path)
    before = count()
    assert headless(*words) == 2 and count() == before
    said = capfd.readouterr().err
    assert WRONG[words] in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "said"), [("text.jpg", "not an image"), ("gone.png", "gone.png"), ("", "is a folder"), (None, "No photo")]
)
def test_what_is_no_photo_is_one_sentence_and_changes_nothing(cube, settings, tmp_path, name, said):
    from_photo()
    (tmp_path / "text.jpg").write_text("not a picture")
    before, former, key = count(), arrays(worn()), worn()["tessera"]
    settings.photo_path = "" if name is None else str(tmp_path / name)
    told = refused(from_photo)
    assert said in told and "\n" not in told and part("jobs").message() == told
    assert count() == before and same(former, arrays(worn())) and worn()["tessera"] == key


def test_a_photo_that_vanishes_meanwhile_changes_nothing(cube, settings, photo):
    plan = part("wear").plan([cube], part("placing").Placing())
    job = part("jobs").Job("x", plan.make(part("recipes").photographed(settings)))
    before = count()
    photo.unlink()
    job._work()
    with pytest.raises(part("core.errors").TesseraError, match="My photo"):
        job.result()
    assert count() == before


def test_cancelling_leaves_everything_as_it_was(cube, core, settings, tmp_path):
    from_photo()
    before, former = count(), arrays(worn())
    settings.photo_path, settings.photo_even = str(saved(core, tmp_path / "large.png", 1024, 1024)), True
    plan = part("wear").plan([cube], part("placing").Placing())
    job = part("jobs").Job("x", plan.make(part("recipes").photographed(settings, size="2048")))
    job.start()
    while job.progress.fraction == 0:
        time.sleep(0.01)
    job.cancel()
    job.join(20)
    with pytest.raises(core.errors.Cancelled):
        job.result()
    assert count() == before and same(former, arrays(worn()))


def test_parts_that_are_not_ticked_are_left_out(cube, settings):
    settings.photo_even = True
    from_photo()
    assert steps() == ["Fit", "Even"] and set(arrays(worn())) == {"albedo"}
    evened = arrays(worn())["albedo"]
    settings.photo_even = False
    from_photo()
    assert steps() == ["Fit"] and slope(arrays(worn())["albedo"]) > 3 * slope(evened)


def slope(picture):
    """How much lighter the right side is."""
    return float(picture[:, -32:].mean() - picture[:, :32].mean())


def test_corners_take_a_part_of_the_photo(cube, settings):
    settings.photo_straighten = True
    from_photo()
    whole = arrays(worn())["albedo"]
    settings.photo_upper_right = settings.photo_lower_right = (0.5, 0)
    settings.photo_lower_right[1] = 1
    from_photo()
    assert slope(arrays(worn())["albedo"]) < 0.7 * slope(whole)
    settings.photo_upper_right = (0, 1)
    assert "four corners enclose no surface" in refused(from_photo)


def test_what_a_mask_marks_is_mended(cube, core, settings, tmp_path):
    mask = np.zeros((240, 320, 1), np.float32)
    mask[80:160, 120:200] = 1
    core.images.write(tmp_path / "mask.png", core.images.Picture(mask))
    from_photo()
    former = arrays(worn())["albedo"]
    settings.photo_mask = str(tmp_path / "mask.png")
    from_photo()
    changed = np.abs(arrays(worn())["albedo"] - former).mean(2)
    assert changed[50:78, 50:78].mean() > 5 * changed[:20].mean()
    settings.photo_mask = str(tmp_path / "gone.png")
    assert "no mask" in refused(from_photo)


def test_a_new_arrangement_is_another_with_another_seed(cube, settings):
    settings.photo_seamless, settings.photo_arrangement = True, "NEW"
    from_photo()
    first = arrays(worn())["albedo"]
    assert steps() == ["Fit", "Example"]
    from_photo(seed=5)
    assert np.abs(first - arrays(worn())["albedo"]).mean() > 0.02


def test_one_undo_takes_the_material_back(cube, settings):
    bpy.context.preferences.edit.use_global_undo = True
    bpy.ops.ed.undo_push(message="before")
    former = worn().name
    bpy.ops.tessera.from_photo("EXEC_DEFAULT", True)
    assert worn().name == "My_photo"
    bpy.ops.ed.undo()
    assert worn(bpy.data.objects["Cube"]).name == former


def test_a_generated_material_is_updated_in_place_and_the_other_way_about(cube, settings):
    generate()
    first = worn()
    from_photo()
    assert worn() == first and set(arrays(worn())) == {"albedo"} and first.name == "My_photo"
    generate()
    assert worn() == first and len(arrays(worn())) == 6


def test_a_real_width_scales_the_texture(cube, settings):
    from_photo()
    mapping = worn().node_tree.nodes["Tessera mapping"].inputs["Scale"]
    metre = mapping.default_value[0]
    settings.photo_width = 0.25
    from_photo()
    assert mapping.default_value[0] == pytest.approx(4 * metre)
    settings.mode = "FIT"
    from_photo()
    assert mapping.default_value[0] == pytest.approx(1)


def test_the_panel_can_be_set_to_what_a_material_remembers(cube, settings, photo):
    settings.photo_straighten, settings.photo_upper_left, settings.photo_width = True, (0.25, 0.125), 0.5
    settings.photo_even, settings.height = True, 64
    from_photo(seed=0)
    asked = part("recipes").photographed(settings)
    for name in ("size", "maps", *(p.identifier for p in settings.bl_rna.properties if p.identifier[:6] == "photo_")):
        settings.property_unset(name)
    bpy.ops.tessera.recall()
    assert part("recipes").photographed(settings) == asked == replace(recipe(), normal="gl")
    assert settings.photo_width == pytest.approx(0.5) and settings.photo_path == str(photo)
    assert not settings.photo_maps and settings.photo_even and settings.maps >= DERIVED


def test_a_photo_is_made_anew_at_another_size(cube, settings, photo):
    settings.height, settings.photo_upscale = 64, True
    from_photo()
    bpy.ops.tessera.regenerate(size="256")
    assert size() == (256, 128) and steps() == ["Fit", "Fit"]
    bpy.ops.tessera.regenerate(size="64x64")
    assert size() == (64, 64)
    settings.width, settings.height = 64, 64
    small = arrays(worn())
    from_photo()
    assert same(small, arrays(worn()))


def test_larger_than_the_photo_it_is_enlarged_when_made_anew(cube, settings):
    settings.photo_upscale = True
    from_photo()
    bpy.ops.tessera.regenerate(size="512")
    assert steps() == ["Fit", "Upscale", "Fit"] and size() == (512, 512)


def test_a_photo_is_varied_and_made_anew(cube, settings):
    from_photo(size="256")
    bpy.ops.tessera.vary(amount=0.5, seed=1)
    assert steps() == ["Fit", "Vary"]
    bpy.ops.tessera.regenerate(size="320")
    assert steps() == ["Fit", "Vary"] and size() == (320, 320)


def test_a_photo_beside_the_file_is_found_after_the_folder_was_moved(cube, core, settings, tmp_path):
    (tmp_path / "project").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "project" / "a.blend"))
    saved(core, tmp_path / "project" / "p.png", 240, 320)
    settings.photo_path = "//p.png"
    from_photo()
    assert json.loads(worn()["tessera"])["recipe"]["source"]["path"] == "//p.png"
    bpy.ops.wm.save_mainfile()
    (tmp_path / "project").rename(tmp_path / "moved")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "moved" / "a.blend"))
    assert bpy.ops.tessera.regenerate(size="64") == {"FINISHED"} and size() == (64, 64)


def test_headless_saves_where_the_photo_is_from_there(cube, photo, tmp_path):
    (tmp_path / "deep").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "deep" / "a.blend"))
    words = ("photo", photo, "--size", "64", "--without", ",".join(PARTS), "--quiet")
    assert headless(*words, "--save", tmp_path / "b.blend") == 0
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "b.blend"))
    assert "//My photo.png" in worn()["tessera"] and bpy.ops.tessera.regenerate(size="128") == {"FINISHED"}


@pytest.mark.parametrize("is_saved", [True, False])
@pytest.mark.parametrize("where", ["path", "mask"])
def test_a_recipe_of_a_stranger_reads_nothing_elsewhere(cube, core, settings, tmp_path, where, is_saved):
    from_photo()
    secret = str(saved(core, tmp_path / "secret.png", 64, 64))
    memory = json.loads(worn()["tessera"])
    if where == "path":
        memory["recipe"]["source"]["path"] = secret
    else:
        memory["recipe"]["steps"].append({"do": "heal", "mask": secret})
    worn()["tessera"] = json.dumps(memory)
    (tmp_path / "home").mkdir()
    if is_saved:
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "home" / "a.blend"))
    for again in (bpy.ops.tessera.regenerate, bpy.ops.tessera.vary, bpy.ops.tessera.upscale):
        assert "secret.png'; if you trust it" in refused(again)


def test_what_was_just_made_of_a_photo_elsewhere_can_be_made_anew(cube, settings, tmp_path):
    (tmp_path / "home").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "home" / "a.blend"))
    from_photo()
    assert bpy.ops.tessera.regenerate(size="64") == {"FINISHED"}


def test_the_panels_tell_of_the_photo(cube, settings):
    settings.photo_straighten, settings.height = True, 64
    from_photo()
    assert "photo_upper_left" in draw("photo") and "tessera.from_photo" in draw("photo")
    assert "128 x 64 pixels" in draw("material") and "seed" not in draw("material")
