import pytest

from core.errors import InputError, RecipeError
from core.recipe import Recipe, from_dict, load, parse_size
from core.steps import Animation, Stylize, Vary

GOOD = """\
[source]
material = "oak"
seed = 7
size = "512x256"
morph = "sand"
amount = 0.25

[export]
maps = ["height", "albedo"]
depth = 16
normal = "dx"
format = "exr"
"""


def written(tmp_path, text):
    path = tmp_path / "r.toml"
    path.write_text(text)
    return path


def test_a_recipe_is_read(tmp_path):
    recipe = load(written(tmp_path, GOOD))
    assert recipe == Recipe("oak", None, 7, 512, 256, "sand", 0.25, ("albedo", "height"), 16, "dx", "exr")


@pytest.mark.parametrize(
    "recipe", [Recipe("oak"), Recipe("oak", "m", 1, 64, 128, "ö\"'\\", 1, ("ao",), 8, "dx", "png")]
)
def test_a_recipe_comes_back_from_its_text_and_its_dict(tmp_path, recipe):
    assert load(written(tmp_path, recipe.to_toml())) == recipe
    assert from_dict(recipe.to_dict()) == recipe


MORE = """\
[source]
path = "photos/wall.png"

[[steps]]
do = "stylize"
style = "woodcut"
strength = 0.5
keep_color = true

[[steps]]
do = "vary"
seed = 3

[animation]
motion = "growth"
frames = 24
coat = "rust"
"""


def test_steps_and_an_animation_are_read_and_come_back(tmp_path):
    recipe = load(written(tmp_path, MORE))
    assert recipe.path == str(tmp_path / "photos" / "wall.png") and recipe.title == "wall"
    assert recipe.steps == (Stylize("woodcut", 0.5, True), Vary(seed=3))
    assert recipe.animation == Animation("growth", 24, coat="rust")
    assert from_dict(recipe.to_dict()) == recipe == load(written(tmp_path, recipe.to_toml()))


@pytest.mark.parametrize(
    "text",
    [
        '[source]\npath = "../secret.png"\n',
        '[source]\npath = "/etc/passwd"\n',
        '[source]\nmaterial = "oak"\n[[steps]]\ndo = "stylize"\nstyle = "../../a.png"\n',
        '[source]\nmaterial = "oak"\n[animation]\nmotion = "growth"\ncoat_path = "/root"\n',
    ],
)
def test_a_recipe_of_a_stranger_reaches_nothing_outside_its_folder(tmp_path, text):
    with pytest.raises(RecipeError, match="leads out of the recipe's folder"):
        load(written(tmp_path, text))


# Plain data beside a material, with what the message must say of it.
ODD = {
    "steps": ({"do": "nothing"}, "needs a 'do', one of stylize, vary, .*, upscale, not 'nothing'"),
    "no list": ("vary", "'steps' must be a list"),
    "no style": ([{"do": "stylize"}], "The step 'stylize' needs a 'style'"),
    "strong": ([{"do": "stylize", "style": "a", "strength": 2}], "'strength' must be a number from 0 to 1"),
    "odd key": ([{"do": "vary", "amunt": 1}], "did you mean 'amount'"),
    "truth": ([{"do": "stylize", "style": "a", "relief": 1}], "'relief' must be true or false"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_wrong_step_is_told(name):
    raw, message = ODD[name]
    with pytest.raises(RecipeError, match=message):
        from_dict({"source": {"material": "oak"}, "steps": [raw] if isinstance(raw, dict) else raw})


def test_an_animation_needs_a_motion_and_a_path_has_its_own_size():
    with pytest.raises(RecipeError, match="needs a 'motion'"):
        from_dict({"source": {"material": "oak"}, "animation": {"frames": 2}})
    with pytest.raises(RecipeError, match="'size' is for materials"):
        from_dict({"source": {"path": "a", "size": 64}})
    with pytest.raises(RecipeError, match="needs a 'material' or a 'path'"):
        from_dict({"source": {}})


# What stands in the recipe's line 2, with what the message must say of it.
LINES = {
    "seeds = 1": "line 2: 'seeds' is not known in .source.; did you mean 'seed'",
    "seed = -1": "line 2: 'seed' must be a whole number from 0",
    "seed = 4294967296": "line 2: 'seed' must be a whole number",
    "seed = true": "line 2: 'seed' must be a whole number.*not True",
    "seed = 1.0": "line 2: 'seed' must be a whole number",
    "size = 0": "line 2: 'size': A size of 0x0 cannot be made",
    "size = [1024]": "line 2: 'size': A size is a number",
    "size = 1024.0": "line 2: 'size': A size is a number",
    "size = true": "line 2: 'size': A size is a number",
    "width = 64": "line 2: 'width' and 'height' are needed together",
    "height = 64\nwidth = '64'": "line 3: 'width' must be a whole number",
    "size = 64\nwidth = 64": "line 2: Give either 'size' or",
    "morph = 3": "line 2: 'morph' must be text",
    "amount = 0.5": "line 2: 'amount' .* needs 'morph'",
    "morph = 'a'\namount = 1.5": "line 3: 'amount' must be a number from 0 to 1",
    "morph = 'a'\namount = nan": "line 3: 'amount' must be",
    "depth = 8": "line 2: 'depth' belongs into the table .export., not in .source.",
    "model = ''": "line 2: 'model' must be text",
    "[export]\nmaps = ['colour']": "line 3: 'maps' must be a list of some of albedo",
    "[export]\nmaps = []": "line 3: 'maps' must be",
    "[export]\ndepth = 32": "line 3: 'depth' must be one of 8, 16, not 32",
    "[export]\nnormal = 'ogl'": "line 3: 'normal' must be one of gl, dx",
    "[export]\nformat = 'jpg'": "line 3: 'format' must be one of png, exr",
    "[export]\nformat = 'exr'\ndepth = 8": "line 4: 'depth' must be 16",
    "[exports]\ndepth = 8": "line 2: 'exports' is not known; did you mean 'export'",
    "seed = ": r"not valid TOML.*line 2",
}


@pytest.mark.parametrize("line", LINES)
def test_a_mistake_is_told_with_its_key_and_line(tmp_path, line):
    path = written(tmp_path, f'source.material = "oak"\n{_in_source(line)}\n')
    with pytest.raises(RecipeError, match=LINES[line]) as caught:
        load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def _in_source(lines):
    return lines if lines.startswith("[") else "\n".join(f"source.{line}" for line in lines.splitlines())


def test_a_line_is_found_under_its_table_header(tmp_path):
    with pytest.raises(RecipeError, match="line 3: 'seed'"):
        load(written(tmp_path, "# a note\n[ source ]\nseed = 'x'\nmaterial = 'oak'"))


def test_a_recipe_needs_a_material():
    for raw in ({}, {"source": {}}, {"source": {"seed": 1}}):
        with pytest.raises(RecipeError, match="needs a 'material'"):
            from_dict(raw)


def test_a_key_outside_a_table_is_told_where_it_belongs():
    with pytest.raises(RecipeError, match=r"belongs into the table \[source\]"):
        from_dict({"material": "oak"})


def test_a_table_must_be_a_table():
    with pytest.raises(RecipeError, match="'source' must be a table"):
        from_dict({"source": "oak"})


def test_files_that_are_no_recipe_are_refused(tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "deep").write_text("a = " + "[" * 100_000)
    (tmp_path / "long").write_text("#" * (2 << 20))
    for name in ("nothing", ".", "bytes", "deep", "long"):
        with pytest.raises(RecipeError):
            load(tmp_path / name)


def test_sizes_are_read():
    assert [parse_size(s) for s in (64, "1024", "1024x512", " 8 X 16 ")] == [
        (64, 64),
        (1024, 1024),
        (1024, 512),
        (8, 16),
    ]


@pytest.mark.parametrize(
    "text", ["0", "-5", "64x-1", "99999", "1e3", "x", "", "64x", "1x2x3", "9" * 5000, "١٢٨", 1.5, None]
)
def test_nonsense_is_no_size(text):
    with pytest.raises(InputError, match=r"[Aa] size .{0,200}$"):
        parse_size(text)
