"""A photo made ready: straightened, cropped, evenly lit; and the recipe that does it."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from core import images, photo
from core.errors import ImageError, InputError
from core.photo_recipe import PARTS, Wishes, example_steps, resized, steps, wishes_of
from core.recipe import from_dict


def ramp(height=80, width=120):
    """Red grows to the right, green downwards."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([(x + 0.5) / width, (y + 0.5) / height, np.full_like(x, 0.5)], -1)


def saved(path, pixels, **options):
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(path, **options)
    return path


def test_the_whole_outline_gives_the_photo_back():
    assert np.abs(photo.straightened(ramp(), (0, 0, 1, 0, 1, 1, 0, 1)) - ramp()).max() < 1e-5


def test_a_rectangle_is_cut_out():
    cut = photo.straightened(ramp(), (0.25, 0.5, 0.75, 0.5, 0.75, 1, 0.25, 1))
    assert np.abs(cut - ramp()[40:, 30:90]).max() < 1e-5


def test_corners_taken_from_another_one_turn_the_picture():
    turned = photo.straightened(ramp(), (1, 0, 1, 1, 0, 1, 0, 0))
    assert turned.shape == (120, 80, 3) and np.abs(turned - np.rot90(ramp())).max() < 1e-5


def test_a_chequerboard_seen_at_an_angle_comes_out_square():
    points = np.array([[0.2, 0.1], [0.9, 0.2], [0.8, 0.9], [0.1, 0.7]])
    board = ((np.indices((64, 64)) // 16).sum(0) % 2).astype(np.float32)
    there = photo._homography(points * 200, 64, 64)
    y, x = np.mgrid[:200, :200] + 0.5
    u, v, w = np.tensordot(np.linalg.inv(there), np.stack([x, y, np.ones_like(x)]), 1)
    column, row = (np.clip(place / w, 0, 63).astype(int) for place in (u, v))
    made = photo.straightened(np.repeat(board[row, column][..., None], 3, 2), points.ravel())
    side, other = made.shape[:2]
    centres = made[(np.arange(4) * 2 + 1) * side // 8][:, (np.arange(4) * 2 + 1) * other // 8, 0]
    assert (np.abs(centres - np.indices((4, 4)).sum(0) % 2) < 0.1).all()


@pytest.mark.parametrize("corners", [(0, 0, 1, 1, 1, 0, 0, 1), (0, 0, 0, 1, 1, 1, 1, 0), (0.5, 0.5) * 4])
def test_corners_that_go_round_nothing_are_refused(corners):
    with pytest.raises(InputError, match="in this order"):
        photo.straightened(ramp(), corners)


def test_the_middle_is_kept():
    fitted = photo.fitted(ramp(80, 120), 40, 40)
    assert fitted.shape == (40, 40, 3) and np.abs(fitted - ramp(80, 120)[:, 20:100][::2, ::2]).max() < 0.02


def grain(height=160, width=200):
    return np.random.default_rng(1).uniform(0.3, 0.6, (height, width, 1)).astype(np.float32).repeat(3, 2)


def shaded():
    return grain() * np.linspace(0.6, 1.4, 200, dtype=np.float32)[None, :, None]


def halves(picture):
    """Mean of the left part over mean of the right part."""
    return float(picture[:, :60].mean() / picture[:, -60:].mean())


def test_light_that_falls_off_is_evened_out_and_the_grain_stays():
    made = photo.evened(shaded(), 1)
    assert halves(shaded()) < 0.65 and 0.9 < halves(made) < 1.1
    middle = np.s_[40:-40, 40:-40]
    assert np.corrcoef(made[middle].ravel(), grain()[middle].ravel())[0, 1] > 0.95
    assert abs(made.mean() - shaded().mean()) < 0.02


def test_no_amount_of_evening_changes_nothing():
    assert (photo.evened(shaded(), 0) == shaded()).all()
    assert halves(shaded()) < halves(photo.evened(shaded(), 0.5)) < halves(photo.evened(shaded(), 1))


@pytest.mark.parametrize("colour", [0.0, 0.4, 1.0])
def test_a_photo_of_one_colour_keeps_it(colour):
    plain = np.full((64, 80, 3), colour, np.float32)
    assert np.abs(photo.evened(plain, 1) - plain).max() < 0.01


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("reader", ["_decode", "_decode_with_pillow"])
def test_photos_stand_upright(tmp_path, orientation, reader):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.jpg", ramp(), exif=exif, quality=95)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path))) / 255
    assert np.abs(getattr(images, reader)(path, images.MAX_SIDE) - upright).max() < 0.01
    assert images.size(path) == upright.shape[1::-1]


@pytest.mark.parametrize("reader", ["_decode", "_decode_with_pillow"])
def test_large_photos_are_reduced_as_they_are_read(tmp_path, reader):
    path = saved(tmp_path / "a.png", ramp(400, 1200))
    made = getattr(images, reader)(path, 150)
    assert made.shape == (50, 150, 3) and np.abs(made - ramp(50, 150)).max() < 0.01


@pytest.mark.parametrize("mode", ["CMYK", "P", "L", "RGBA", "LA", "1"])
def test_photos_of_all_modes_are_read(tmp_path, mode):
    from core import folders

    suffix = {"CMYK": "jpg"}.get(mode, "png")
    Image.fromarray(np.rint(ramp() * 255).astype(np.uint8)).convert(mode).save(tmp_path / f"a.{suffix}")
    albedo = folders.read_photo(tmp_path / f"a.{suffix}")["albedo"]
    assert albedo.shape == (80, 120, 3) and albedo[:, 90:].mean() > albedo[:, :30].mean()


def test_an_animated_picture_gives_its_first_frame(tmp_path):
    first, second = (Image.fromarray(np.full((40, 40, 3), value, np.uint8)) for value in (200, 20))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert images.read(tmp_path / "a.gif").mean() > 0.7


def kinds(plan):
    return [step["do"] for step in plan]


@pytest.fixture
def picture(tmp_path):
    return saved(tmp_path / "photo.png", ramp(600, 800))


def test_a_photo_with_enough_pixels_is_not_enlarged(picture):
    plan = steps(picture, Wishes(512, 512))
    assert kinds(plan) == ["fit", "even", "heal", "maps", "fit"] and plan[0]["width"] == 512


@pytest.mark.parametrize(("size", "factor", "worked"), [(1024, 2, 600), (2048, 4, 600), (4096, 4, 1024)])
def test_a_photo_with_too_few_pixels_is_enlarged_at_the_end(picture, size, factor, worked):
    plan = steps(picture, Wishes(size, size))
    assert kinds(plan)[-2:] == ["upscale", "fit"] and plan[-2]["factor"] == factor
    assert plan[0] == {"do": "fit", "width": worked, "height": worked} and plan[-1]["width"] == size


def test_steps_can_be_left_out(picture):
    plan = steps(picture, Wishes(2048, 2048, without=frozenset(PARTS)))
    assert kinds(plan) == ["fit"] and plan[0]["width"] == 2048
    assert kinds(steps(picture, Wishes(100, 100, without=frozenset(PARTS)))) == ["fit", "fit"]  # 104, and 100


def test_a_new_arrangement_takes_the_place_of_mended_seams(picture):
    plan = steps(picture, Wishes(2048, 1024, denoise=0.5, seed=3, fresh=True))
    assert kinds(plan) == ["fit", "even", "heal", "example", "maps", "upscale", "fit"] and "seams" not in plan[2]
    assert plan[3] == {"do": "example", "width": plan[0]["width"], "height": plan[0]["height"], "seed": 3}


CORNERS = (0.1, 0.0, 0.9, 0.1, 1.0, 0.9, 0.0, 1.0)
WISHES = [
    Wishes(256, 256),
    Wishes(4096, 2048, strength=2.0, delight=0.5),
    Wishes(256, 128, CORNERS, mask="m.png", denoise=0.25, seed=4, fresh=True),
    Wishes(512, 512, mask="m.png", denoise=0.5, without=frozenset({"seamless", "maps"})),
    *(Wishes(512, 512, CORNERS, denoise=0.5, without=frozenset({part})) for part in PARTS),
    Wishes(2048, 2048, without=frozenset(PARTS)),
]


def plan_of(picture, wishes, *further):
    return from_dict({"source": {"path": str(picture)}, "steps": [*steps(picture, wishes), *further]})


@pytest.mark.parametrize("wishes", WISHES)
def test_a_recipe_tells_what_was_wished(picture, wishes):
    assert wishes_of(plan_of(picture, wishes)) == wishes


@pytest.mark.parametrize("wishes", WISHES)
def test_a_recipe_at_another_size_is_the_one_that_is_made_for_it(picture, wishes):
    vary = {"do": "vary", "amount": 0.5, "seed": 1}
    larger = replace(wishes, width=1024, height=512)
    assert resized(plan_of(picture, wishes, vary), 1024, 512) == plan_of(picture, larger, vary)


@pytest.mark.parametrize("further", [[{"do": "vary"}], [{"do": "fit", "width": 64, "height": 64}]])
def test_steps_of_ones_own_have_no_other_size(picture, further):
    example = {"do": "example", "width": 128, "height": 64}
    recipe = from_dict({"source": {"path": str(picture)}, "steps": [*further, example]})
    with pytest.raises(InputError, match="without another"):
        resized(recipe, 128, 128)


def test_the_maps_that_come_of_a_photo_are_known():
    assert Wishes(64, 64).maps == ("albedo", "normal", "height", "roughness", "ao")
    assert Wishes(64, 64, without=frozenset({"maps"})).maps == ("albedo",)


def test_a_mask_marks_places_of_the_whole_photo(picture):
    plan = steps(picture, Wishes(256, 256, mask="m.png", corners=(0, 0, 1, 0, 1, 1, 0, 1)))
    assert kinds(plan)[:4] == ["fit", "heal", "straighten", "fit"]
    assert (plan[0]["width"], plan[0]["height"]) == (512, 384)


def test_an_example_is_no_larger_than_what_is_made_of_it(picture):
    assert example_steps(picture, 512, 256, 3, True)[0] == {"do": "fit", "width": 512, "height": 384}
    assert example_steps(picture, 4096, 4096, 3, True)[0]["width"] == 800


def test_a_step_that_is_not_there_cannot_be_left_out(picture):
    with pytest.raises(InputError, match="no step 'sharpen'"):
        Wishes(64, 64, without=frozenset({"sharpen"}))


def test_what_is_no_photo_is_told(tmp_path):
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(ImageError, match="not an image"):
        steps(tmp_path / "text.jpg", Wishes(64, 64))
    with pytest.raises(InputError, match="is a folder"):
        steps(tmp_path, Wishes(64, 64))
