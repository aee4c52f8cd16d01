import resource
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from core import images, png
from core.errors import ImageError, OutputError
from core.images import Picture, check_folder, read, write, write_all


def levels(depth, channels=3):
    """Every value that the depth can hold, once in each channel."""
    values = np.arange(2**depth, dtype=np.float32).reshape(-1, 2 ** (depth // 2), 1) / (2**depth - 1)
    return np.repeat(values, channels, axis=2)


def noise(height=20, width=30):
    return np.random.default_rng(0).random((height, width, 3), dtype=np.float32)


@pytest.mark.parametrize(("suffix", "depth"), [("png", 8), ("png", 16), ("tif", 8), ("tif", 16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_integer_level_comes_back_exactly(tmp_path, suffix, depth, channels):
    path, pixels = tmp_path / f"a.{suffix}", levels(depth, channels)
    write(path, Picture(pixels, depth))
    assert read(path).shape == pixels.shape
    assert np.array_equal(np.rint(read(path) * (2**depth - 1)), np.rint(pixels * (2**depth - 1)))


def test_values_are_rounded_to_the_nearest_level(tmp_path):
    write(tmp_path / "a.png", Picture(np.full((2, 2, 1), 100.6 / 255, np.float32), 8))
    assert np.asarray(Image.open(tmp_path / "a.png"))[0, 0] == 101


def test_a_float_exr_comes_back_bit_for_bit_and_a_half_one_nearly(tmp_path):
    for depth, tolerance in ((32, 0), (16, 3e-4)):
        write(tmp_path / "a.exr", Picture(noise(), depth))
        assert np.abs(read(tmp_path / "a.exr") - noise()).max() <= tolerance


def test_a_png_declares_no_gamma(tmp_path):
    write(tmp_path / "a.png", Picture(noise()))
    assert not {b"gAMA", b"sRGB", b"tIME"} & {bytes(b) for b in (tmp_path / "a.png").read_bytes().split(b"\0")}
    assert b"gAMA" not in (tmp_path / "a.png").read_bytes()


@pytest.mark.parametrize(("name", "depth"), [("a.png", 8), ("a.exr", 16), ("a.tif", 16)])
def test_no_file_holds_a_date(tmp_path, name, depth):
    import time

    write(tmp_path / name, Picture(noise(), depth))
    now = time.strftime("%Y:%m:%d").encode()
    assert now not in (tmp_path / name).read_bytes()


def test_alpha_is_written_beside_the_colours(tmp_path):
    pixels = np.array([[[10, 20, 30, 40], [50, 60, 70, 80]]], np.float32) / 255
    write(tmp_path / "a.png", Picture(pixels))
    assert np.asarray(Image.open(tmp_path / "a.png")).tolist() == [[[10, 20, 30, 40], [50, 60, 70, 80]]]


def test_a_png_in_memory_has_the_bytes_of_the_file(tmp_path):
    write(tmp_path / "a.png", Picture(noise(), 16))
    assert images.encode(Picture(noise(), 16)) == (tmp_path / "a.png").read_bytes()


@pytest.mark.parametrize("shape", [(1, 1, 1), (64, 3, 3), (65, 7, 4), (300, 40, 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_png_of_any_number_of_bands_is_sound_for_other_readers(shape, kind):
    pixels = np.random.default_rng(1).integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)
    data = png.encode(pixels)
    assert png.is_whole(memoryview(data))
    if kind == np.uint8 or shape[2] == 1:  # Pillow reads colours of 16 bits as 8
        with Image.open(BytesIO(data)) as image:
            assert np.array_equal(np.asarray(image).reshape(shape), pixels)


def test_colours_under_alpha_are_read_as_stored(tmp_path):
    Image.new("RGBA", (4, 4), (200, 100, 50, 10)).save(tmp_path / "a.png")
    assert np.allclose(read(tmp_path / "a.png"), np.array([200, 100, 50]) / 255)


def test_grey_with_alpha_is_read_as_grey(tmp_path):
    Image.new("LA", (4, 3), (200, 10)).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").shape == (3, 4, 1)


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_photographs_are_read(tmp_path, suffix):
    Image.new("RGB", (5, 4), (200, 100, 50)).save(tmp_path / f"a.{suffix}")
    assert np.abs(read(tmp_path / f"a.{suffix}") - np.array([200, 100, 50]) / 255).max() < 0.03


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.exr"])
def test_half_a_file_is_an_image_error_and_nothing_is_printed(tmp_path, name, capfd):
    write(tmp_path / name, Picture(noise(200, 200), 16))
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=name):
        read(tmp_path / name)
    assert capfd.readouterr().err == ""


def test_what_is_not_an_image_is_an_image_error(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    for path in (tmp_path / "a.png", tmp_path, tmp_path / "none.png"):
        with pytest.raises(ImageError):
            read(path)


def test_an_exr_with_a_nan_is_an_image_error(tmp_path, monkeypatch):
    broken = noise()
    broken[3, 4] = np.nan
    monkeypatch.setattr(images, "_quantised", lambda pixels, kind: pixels)
    write(tmp_path / "a.exr", Picture(broken, 32))
    with pytest.raises(ImageError, match="NaN"):
        read(tmp_path / "a.exr")


def test_too_large_an_image_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    write(tmp_path / "a.png", Picture(noise()))
    monkeypatch.setattr(images, "MAX_SIDE", 16)
    with pytest.raises(ImageError, match="30 x 20"):
        read(tmp_path / "a.png")


def test_a_set_is_written_with_its_texts_and_nothing_else(tmp_path):
    paths = write_all(tmp_path / "new" / "deep", {"a.png": Picture(noise())}, {"manifest.json": "é\n"})
    assert sorted(path.name for path in (tmp_path / "new" / "deep").iterdir()) == ["a.png", "manifest.json"]
    assert paths[1].read_bytes() == "é\n".encode()


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt(), MemoryError()])
def test_a_failure_half_way_leaves_no_file_at_all(tmp_path, monkeypatch, error):
    save = images._save

    def failing(path, content):
        save(path, content)
        if "b." in path.name:
            raise error

    monkeypatch.setattr(images, "_save", failing)
    with pytest.raises(OutputError if isinstance(error, OSError) else type(error)):
        write_all(tmp_path, {name: Picture(noise()) for name in ("a.png", "b.png", "c.png")}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_renaming_restores_the_former_files(tmp_path):
    (tmp_path / "a.txt").write_text("former")
    (tmp_path / "b.txt").mkdir()  # a name that cannot be replaced by a file
    with pytest.raises(OutputError):
        write_all(tmp_path, {}, {"a.txt": "newer", "b.txt": "newer"})
    assert (tmp_path / "a.txt").read_text() == "former"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]


@pytest.mark.parametrize(("name", "depth"), [("a.png", 8), ("a.tif", 16), ("a.exr", 32)])
def test_a_full_disk_is_an_output_error(tmp_path, name, depth):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError):
            write(tmp_path / name, Picture(noise(150, 150), depth))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_under_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another"):
        check_folder(tmp_path / "file" / "folder")


def test_a_depth_that_the_format_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    for name, depth in (("a.png", 32), ("a.exr", 8), ("a.jpg", 8)):
        with pytest.raises(OutputError, match=name):
            write_all(tmp_path / "folder", {name: Picture(noise(), depth)}, {})
    assert not (tmp_path / "folder").exists()


@pytest.fixture
def without_openimageio(monkeypatch):
    monkeypatch.setitem(sys.modules, "OpenImageIO", None)


@pytest.mark.parametrize(("depth", "channels"), [(8, 1), (8, 3), (16, 1)])
def test_where_openimageio_is_missing_pillow_reads_the_same(tmp_path, monkeypatch, depth, channels):
    write(tmp_path / "a.png", Picture(levels(depth, channels), depth))
    usual = read(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "OpenImageIO", None)
    assert np.array_equal(usual, read(tmp_path / "a.png"))


def test_without_openimageio_photographs_and_palettes_are_read(tmp_path, without_openimageio):
    Image.new("RGBA", (5, 4), (200, 100, 50, 9)).save(tmp_path / "a.webp", lossless=True, exact=True)
    Image.new("RGB", (5, 4), (200, 100, 50)).quantize(4).save(tmp_path / "p.png")
    for name in ("a.webp", "p.png"):
        assert np.abs(read(tmp_path / name) - np.array([200, 100, 50]) / 255).max() < 0.01


def test_without_openimageio_bad_files_are_one_sentence(tmp_path, without_openimageio, monkeypatch):
    Image.fromarray(np.zeros((200, 200, 3), np.uint8)).save(tmp_path / "half.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "half.jpg").read_bytes()[:700])
    (tmp_path / "text.jpg").write_text("hello")
    for name in ("half.jpg", "text.jpg"):
        with pytest.raises(ImageError, match=name):
            read(tmp_path / name)
    monkeypatch.setattr(images, "MAX_SIDE", 16)
    write(tmp_path / "a.png", Picture(noise()))
    with pytest.raises(ImageError, match="30 x 20"):
        read(tmp_path / "a.png")
