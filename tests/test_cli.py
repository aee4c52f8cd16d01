import json
import signal
import time

import numpy as np
import pytest
from tiny import command, started, tiny_model

from core.cli import main
from core.version import VERSION

MAPS = ("albedo", "normal", "height", "roughness", "metallic", "ao")


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.delenv("TESSERA_MODELS", raising=False)
    tiny_model(tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def generate(models, tmp_path, capfd):
    """Run `generate` in this process: status and stderr."""

    def call(*arguments, out=tmp_path / "out"):
        words = ["generate", "--provider", "cpu", *arguments, "--models", models, "--out", out]
        if "--size" not in arguments:
            words += ["--size", "64"]
        return status_of(words), capfd.readouterr().err

    return call


def status_of(words):
    try:
        return main([str(word) for word in words])
    except SystemExit as end:  # argparse
        return end.code


def pixels(folder):
    from core import images

    return {path.name: images.read(path) for path in sorted(folder.glob("*.png"))}


def test_a_material_is_made_with_preview_and_manifest(generate, tmp_path):
    assert generate("oak", "--seed", "7", "--size", "128x64")[0] == 0
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {*(f"oak_7_{name}.png" for name in MAPS), "preview.png", "manifest.json"}
    assert pixels(tmp_path / "out")["oak_7_albedo.png"].shape == (64, 128, 3)


def test_the_manifest_says_how_it_was_made(generate, tmp_path):
    generate("oak", "--maps", "height,albedo")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["tessera"] == VERSION and manifest["provider"] == "CPUExecutionProvider"
    assert manifest["recipe"]["source"]["material"] == "oak" and len(manifest["models"][0]["sha256"]) == 64
    assert set(manifest["files"]) == {path.name for path in (tmp_path / "out").iterdir()}
    assert set(manifest["seconds"]) == {"loading", "making", "checking"} and manifest["quality"]


def test_a_morph_is_named_after_both(generate, tmp_path):
    assert generate("oak", "--morph", "sand", "--amount", "0.3", "--maps", "albedo")[0] == 0
    assert (tmp_path / "out" / "oak-sand_0_albedo.png").exists()


def test_a_directx_normal_has_its_green_turned(generate, tmp_path):
    generate("oak", "--maps", "normal", "--depth", "16", out=tmp_path / "gl")
    generate("oak", "--maps", "normal", "--depth", "16", "--normal", "dx", out=tmp_path / "dx")
    gl, dx = (pixels(tmp_path / kind)["oak_0_normal.png"] for kind in ("gl", "dx"))
    np.testing.assert_allclose(gl, dx * (1, -1, 1) + (0, 1, 0), atol=1e-4)


def test_exr_is_written(generate, tmp_path):
    assert generate("oak", "--format", "exr", "--maps", "height")[0] == 0
    assert (tmp_path / "out" / "oak_0_height.exr").exists()


def test_the_same_recipe_gives_the_same_pixels_twice_and_in_a_new_process(generate, models, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text('[source]\nmaterial = "oak"\nseed = 3\nsize = 64\n')
    generate("oak", "--seed", "3", out=tmp_path / "a")
    assert main(["run", str(recipe), "--models", str(models), "--out", str(tmp_path / "b"), "--provider", "cpu"]) == 0
    result = command("run", recipe, "--models", models, "--out", tmp_path / "c", "--provider", "cpu")
    assert result.returncode == 0, result.stderr
    first, *others = (pixels(tmp_path / folder) for folder in "abc")
    for other in others:
        assert first.keys() == other.keys() and all(np.array_equal(first[name], other[name]) for name in first)


# Arguments after `generate`, and what the sentence must say.
WRONG = {
    ("cobblestones",): "did you mean cobblestone",
    ("oak", "--size", "0"): "from 1 to",
    ("oak", "--size", "-64"): "from 1 to",
    ("oak", "--size", "1000000"): "from 1 to",
    ("oak", "--size", "65"): "multiple of 8",
    ("oak", "--size", "8"): "multiple of 8 from 64",
    ("oak", "--size", "big"): "A size is a number",
    ("oak", "--seed", "-1"): "'seed' must be",
    ("oak", "--seed", "x"): "--seed",
    ("oak", "--maps", "colour"): "'maps' must be",
    ("oak", "--depth", "12"): "'depth' must be",
    ("oak", "--amount", "0.5"): "needs 'morph'",
    ("oak", "--morph", "sand", "--amount", "nan"): "'amount' must be",
    ("oak", "--morph", "sond"): "did you mean sand",
    ("oak", "--model", "tini"): "did you mean tiny",
    ("oak", "--nonsense"): "unrecognized arguments",
    (): "required: MATERIAL",
}


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_bad_input_is_one_sentence_and_status_2_and_leaves_nothing(generate, tmp_path, arguments):
    status, errors = generate(*arguments)
    assert status == 2 and WRONG[arguments] in errors
    assert errors.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_morph_across_models_says_what_would_do(generate, models):
    tiny_model(
        models, "z.onnx", name="z", materials=[{"name": "lava", "category": "rock", "metres": 1.0, "pixels": 64}]
    )
    assert "oak' can morph into: cobblestone, sand" in generate("oak", "--morph", "lava")[1]


def test_a_map_that_the_model_lacks_is_told(generate, models):
    tiny_model(models, maps=["albedo", "normal"])
    assert "makes no map 'height'; choose from albedo, normal" in generate("oak", "--maps", "height")[1]


@pytest.mark.parametrize("folder", ["file/out", "/proc/tessera"])
def test_an_unwritable_folder_is_told_before_the_work(generate, models, tmp_path, folder):
    (tmp_path / "file").write_text("")
    tiny_model(models, extra="endless")  # the work would not end
    status, errors = generate("oak", out=tmp_path / folder)
    assert status == 2 and "another folder" in errors


def test_cuda_asked_for_where_there_is_none_is_told(generate, tmp_path, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    status, errors = generate("oak", "--provider", "cuda")
    assert status == 2 and "onnxruntime-gpu" in errors and not (tmp_path / "out").exists()


def test_list_shows_models_materials_and_problems(models, capsys):
    (models / "bad.onnx").write_bytes(b"nothing")
    assert main(["list", "--models", str(models)]) == 0
    shown = capsys.readouterr()
    assert (
        all(word in shown.out for word in ("tiny", "texture_gan", "CC0-1.0", "oak", "wood")) and "bad.onnx" in shown.err
    )


def test_list_as_json_can_be_read(models, capsys):
    main(["list", "--json", "--models", str(models)])
    (tiny,) = (model for model in json.loads(capsys.readouterr().out) if model["name"] == "tiny")
    assert {"name": "oak", "category": "wood"} in tiny["materials"]


def test_check_measures_what_was_made(generate, tmp_path, capfd):
    generate("oak", "--quiet")
    status = main(["check", str(tmp_path / "out"), "--json"])
    shown = capfd.readouterr()
    assert json.loads(shown.out) and status == (1 if shown.err else 0)


def test_check_of_no_folder_is_told(tmp_path, capsys):
    assert main(["check", str(tmp_path / "nothing")]) == 2
    assert "no folder" in capsys.readouterr().err


def test_quiet_says_nothing_and_otherwise_a_line_says_where_the_files_are(models, tmp_path, capfd):
    words = [
        "generate",
        "oak",
        "--size",
        "64",
        "--provider",
        "cpu",
        "--models",
        str(models),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(words) == 0 and f"8 files in {tmp_path / 'out'}" in capfd.readouterr().out
    assert main([*words, "--quiet"]) == 0 and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["endless", "stubborn"])
def test_ctrl_c_ends_a_run_at_once_and_leaves_nothing(models, tmp_path, kind):
    tiny_model(models, extra=kind)
    # It takes 0.1 to 0.4 s; the further attempts are for a machine that is busy with something else.
    assert any(seconds_to_interrupt(models, tmp_path / "out") < 1 for attempt in range(3))


def seconds_to_interrupt(models, out):
    process = started("generate", "oak", "--size", "64", "--models", models, "--out", out, "--provider", "cpu")
    while not out.exists():
        time.sleep(0.01)
    time.sleep(1)  # until the network runs
    start = time.perf_counter()
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    seconds = time.perf_counter() - start
    assert process.stderr.read() == "" and not out.exists()
    return seconds


def test_a_failed_run_keeps_the_files_that_were_there(generate, models, tmp_path):
    generate("oak")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    tiny_model(models, extra="nan")
    assert generate("oak")[0] == 2
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}


def test_nothing_is_told_to_anyone_and_no_file_is_left_elsewhere(tmp_path):
    models, elsewhere = tiny_model(tmp_path).parent, tmp_path / "elsewhere"
    elsewhere.mkdir()
    words = ["generate", "oak", "--size", "64", "--models", models, "--out", tmp_path / "out"]
    # ONNX Runtime's telemetry would leave its session's number there.
    assert command(*words, TMPDIR=str(elsewhere), ORT_DISABLE_TELEMETRY="0").returncode == 0
    assert list(elsewhere.iterdir()) == []
