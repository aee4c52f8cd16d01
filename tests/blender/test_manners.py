"""How the add-on behaves: registering, work beside the window, the panel, memory, the command line in background."""

import time
from dataclasses import replace

import bpy
import pytest
from verbs import PACKAGE, arrays, count, draw, generate, part, worn


def ours():
    """Everything of ours that Blender knows of."""
    names = [name for name in dir(bpy.types) if "tessera" in name.lower()]
    operators = [name for name in dir(bpy.ops.tessera) if not name.startswith("_")]
    return names + operators + [name for name in dir(bpy.types.Scene) if "tessera" in name]


def test_registering_as_often_as_one_likes_leaves_nothing_behind(addon, cube):
    before = ours()
    assert before
    for _ in range(3):
        addon.unregister()
        assert ours() == []
        addon.register()
    assert ours() == before and generate() == {"FINISHED"}


def test_nothing_heavy_is_imported_to_enable_it(installed, tmp_path):
    import subprocess
    import sys

    code = (
        "import os, sys, time, bpy, addon_utils\n"
        f"addon_utils.enable({PACKAGE!r}, default_set=True)\n"
        "print('onnxruntime' in sys.modules, flush=True)\n"
        f"addon_utils.disable({PACKAGE!r})\n"
        "os._exit(0)\n"
    )
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120)
    assert result.stdout.split()[-1] == "False", result.stderr


def test_the_add_ons_folder_stays_as_it_was_installed(addon, cube, tmp_path):
    from pathlib import Path

    folder = Path(addon.__file__).parent

    def files():
        return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}

    before = files()
    generate()
    bpy.ops.tessera.variations()
    assert files() == before


def test_a_cancelled_job_ends_at_once_and_changes_nothing(cube):
    before = count()
    operator = part("operators").TESSERA_OT_generate
    plan = part("wear").plan([cube], part("placing").Placing())
    wanted = part("recipes").asked(bpy.context.scene.tessera, size="4096")
    job = part("jobs").Job(operator.title, plan.make(wanted))
    job.start()
    while job.progress.fraction < 0.15:
        time.sleep(0.01)
    start = time.perf_counter()
    job.cancel()
    job.join(10)
    assert job.done and time.perf_counter() - start < 2 and count() == before
    with pytest.raises(part("core.errors").Cancelled):
        job.result()


def test_a_job_begins_when_the_cancelled_one_has_ended(cube):
    jobs, order = part("jobs"), []

    def steps(name, seconds):
        order.append(name)
        yield part("core.pipeline").Progress("x", 0.0)
        time.sleep(seconds)
        order.append(f"{name} ends")

    first, second = (jobs.Job(name, steps(name, 0.2)) for name in "ab")
    first.start()
    time.sleep(0.05)
    first.cancel()
    second.start()
    second.join(5)
    assert order == ["a", "a ends", "b", "b ends"] or order == ["a", "b", "b ends"]


PANELS = ["generate", "variations", "photo", "morph", "style", "animate", "maps", "material", "models"]


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_draws(cube, panel):
    empty = draw(panel)
    generate()
    bpy.ops.tessera.variations()
    bpy.context.scene.tessera.style, bpy.context.scene.tessera.motion = "OWN", "growth"
    assert empty and draw(panel)


def test_the_panel_shows_the_last_error_until_something_goes_well(cube):
    with pytest.raises(RuntimeError):
        generate("nothing_like_it")
    assert "nothing_like_it" in draw("generate")
    generate()
    assert "nothing_like_it" not in draw("generate")


def test_variations_are_pictures_of_other_seeds(cube):
    bpy.context.scene.tessera.size = "256"
    bpy.ops.tessera.variations()
    found = part("variations").of(part("recipes").asked(bpy.context.scene.tessera))
    assert [v.recipe.seed for v in found] == [1, 2, 3, 4, 5, 6]
    assert bpy.ops.tessera.take_variation(seed=4) == {"FINISHED"}
    assert bpy.context.scene.tessera.seed == 4 and part("materials").recall(worn()).recipe.seed == 4


def test_the_gallery_can_be_searched_and_remembers_the_choice(scene):
    settings, gallery = scene.tessera, part("gallery")
    settings.search = "brick"
    found = [item[0] for item in gallery.items(settings.category, settings.search, "")]
    assert "red_brick" in found and "lawn" not in found
    settings.gallery = found[-1]
    assert settings.material == found[-1]
    settings.search = "no such thing"
    assert settings.gallery == found[-1]  # what is chosen can always be shown


def test_every_material_has_a_picture(scene):
    assert part("gallery").without_picture() == []
    assert len(part("gallery").names()) >= 35


def test_a_job_ends_with_the_sessions_it_began_with(cube):
    plan = part("wear").plan([cube], part("placing").Placing())
    job = part("jobs").Job("x", plan.make(part("recipes").asked(bpy.context.scene.tessera, size="2048")))
    began = part("engine").sessions()
    job.start()
    while job.progress.fraction < 0.1:
        time.sleep(0.01)
    part("preferences").preferences().threads = 1  # the sessions are made anew for the next job
    job.cancel()
    job.join(10)
    assert began.cancelled and part("engine").sessions() is not began


def test_headless_images_and_catalogs_are_found_again_from_anywhere(headless, cube, tmp_path, monkeypatch):
    for name in ("here", "there", "elsewhere"):
        (tmp_path / name).mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "here" / "a.blend"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    out = tmp_path / "there" / "b.blend"
    assert headless("generate", "lawn", "--size", "64", "--images", "img", "--asset", "--save", out)[0] == 0
    bpy.ops.wm.open_mainfile(filepath=str(out))
    assert len(arrays(worn(bpy.data.objects["Cube"]))) == 6
    assert (out.parent / "blender_assets.cats.txt").is_file() and len(list((tmp_path / "here").iterdir())) == 1


def test_settings_are_saved_with_the_scene(cube, tmp_path):
    bpy.context.scene.tessera.material, bpy.context.scene.tessera.seed = "lawn", 42
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    assert bpy.context.scene.tessera.seed == 0
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    assert (bpy.context.scene.tessera.material, bpy.context.scene.tessera.seed) == ("lawn", 42)


def test_free_memory_closes_the_models_and_the_next_click_opens_them(cube):
    generate()
    assert part("engine").sessions()._open
    bpy.ops.tessera.free_memory()
    assert not part("engine").sessions()._open and generate() == {"FINISHED"}


def test_what_a_model_had_to_do_without_is_told(cube):
    making, steps = part("making"), part("wear").plan([cube], part("placing").Placing())
    job = part("jobs").Job("x", steps.make(part("recipes").asked(bpy.context.scene.tessera, size="64")))
    job._work()
    made = replace(job.result(), result=replace(job.result().result, notes=("Memory ran out, so it went slower.",)))
    assert making.told(job.result()).endswith("s on the CPU")
    assert making.told(made).endswith("s on the CPU. Memory ran out, so it went slower.")


def test_a_broken_onnxruntime_is_one_sentence(cube, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    part("engine").forget()
    with pytest.raises(RuntimeError) as caught:
        generate()
    assert "reinstall the Tessera extension" in str(caught.value) and "Traceback" not in str(caught.value)


def test_the_line_about_the_device_is_true(scene):
    engine = part("engine")
    engine.forget()
    while not engine.device():
        time.sleep(0.05)
    assert engine.device().startswith("Runs on the CPU: ")  # the zip that is tested has no CUDA, and says so


def test_everything_has_a_tooltip(scene):
    settings = [p for p in scene.tessera.bl_rna.properties if p.identifier not in ("rna_type", "name")]
    wanted = part("preferences").preferences().bl_rna.properties
    ours = [p for p in wanted if p.identifier not in ("rna_type", "bl_idname", "module")]
    operators = [getattr(bpy.ops.tessera, name).get_rna_type() for name in dir(bpy.ops.tessera) if name[0] != "_"]
    without = [thing.identifier for thing in [*settings, *ours, *operators] if not thing.description.strip()]
    assert settings and ours and operators and not without


def test_nothing_asks_the_network(cube, monkeypatch):
    import socket

    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    assert generate() == {"FINISHED"} and bpy.ops.tessera.variations() == {"FINISHED"}


def test_the_dice_draws_another_seed(scene):
    seeds = set()
    for _ in range(5):
        bpy.ops.tessera.dice()
        seeds.add(scene.tessera.seed)
    assert len(seeds) > 1


@pytest.fixture
def headless(capfd):
    """Run a command as `blender -b -c tessera` does: status, output, errors."""

    def call(*words):
        status = part("headless").main([str(word) for word in words])
        shown = capfd.readouterr()
        return status, shown.out, shown.err

    return call


def test_headless_dresses_the_objects_that_are_named_and_saves(headless, cube, tmp_path):
    out = tmp_path / "deep" / "out.blend"
    status, shown, _ = headless(
        "generate", "lawn", "--object", "Cube", "--seed", "3", "--size", "64", "--save", out, "--asset"
    )
    assert status == 0 and "100 %" in shown and "Cube wears 'lawn'" in shown
    bpy.ops.wm.open_mainfile(filepath=str(out))
    assert worn(bpy.data.objects["Cube"]).asset_data and arrays(worn(bpy.data.objects["Cube"]))


def test_headless_runs_a_recipe(headless, cube, tmp_path):
    (tmp_path / "r.toml").write_text('[source]\nmaterial = "lawn"\nsize = 64\n[export]\nmaps = ["albedo"]\n')
    assert headless("run", tmp_path / "r.toml", "--quiet") == (0, "", "")
    assert set(arrays(worn())) == {"albedo"}


def test_headless_makes_a_library_of_assets(headless, scene, tmp_path):
    out = tmp_path / "library.blend"
    status, shown, _ = headless("library", "--materials", "lawn,brick", "--size", "64", "--save", out)
    assert status == 0 and "1/" in shown
    bpy.ops.wm.open_mainfile(filepath=str(out))
    names = {m.name for m in bpy.data.materials if m.asset_data}
    assert "lawn" in names and any("brick" in name for name in names)
    assert not bpy.data.objects and (tmp_path / "blender_assets.cats.txt").is_file()


WRONG = {
    ("generate", "lown"): "did you mean lawn",
    ("generate", "lawn", "--object", "Cubb"): "no object called 'Cubb'",
    ("generate", "lawn", "--size", "65"): "multiple of 8",
    ("generate", "lawn", "--scale", "0"): "from 0.001",
    ("generate", "lawn", "--models", "/nowhere"): "no folder",
    ("generate", "lawn", "--save", "out.txt"): "end in .blend",
    ("generate", "lawn", "--provider", "cuda", "--size", "64"): "CUDA",
    ("generate",): "required: MATERIAL",
    ("run", "/nowhere.toml"): "cannot be read",
    ("library",): "--save",
    ("library", "--materials", "lown", "--save", "x.blend"): "did you mean lawn",
    ("library", "--materials", ",", "--save", "x.blend"): "No material is named",
    ("nonsense",): "invalid choice",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_headless_mistakes_are_one_sentence_and_status_2(headless, cube, words):
    before = count()
    status, _, errors = headless(*words)
    assert status == 2 and WRONG[words] in errors and errors.count("\n") == 1
    assert count() == before
