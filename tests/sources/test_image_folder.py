"""A folder of images: sizes, colours, and files that are no images."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.sources.made import Source

GREY, RED = np.full((4, 6), 90, np.uint8), np.zeros((4, 6, 3), np.uint8)
RED[..., 0] = 200


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "rose" / "a.png", RED)
    save(tmp_path / "daisy" / "b.JPG", RED)
    save(tmp_path / "daisy" / "a.png", GREY)
    (tmp_path / "daisy" / "notes.txt").write_text("not an image")
    (tmp_path / "daisy" / ".hidden.png").write_text("nor this")
    (tmp_path / ".thumbnails").mkdir()
    return tmp_path


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def source(path, shape, classes=("daisy", "rose"), **more):
    return Source(
        {"kind": "image_folder", "path": str(path)} | more,
        columns={"image": {"type": "image", "shape": list(shape)}},
        label={"name": "kind", "classes": list(classes)},
    )


def test_images_are_read_by_class_and_name_in_colour(folder):
    made = source(folder, (4, 6, 3))
    frame = made.read()
    assert frame["kind"].tolist() == ["daisy", "daisy", "rose"]
    pixels = frame.drop(columns="kind").to_numpy().reshape(3, 4, 6, 3)
    assert (pixels[0] == 90).all()
    assert (pixels[2] == RED).all()
    assert abs(pixels[1] - RED).max() < 4
    assert made.place(1) == f"{folder}/daisy/b.JPG"
    assert made.place(2) == f"{folder}/rose/a.png"
    assert "image 3 (from 0)" in made.place(3)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1)])
def test_a_coloured_image_becomes_grey_by_its_luma(folder, shape):
    frame = source(folder, shape).read()
    assert frame.shape == (3, 25)
    assert frame["image[0]"].tolist()[::2] == [90, round(0.299 * 200)]


def test_another_size_is_an_error_that_names_the_file_or_is_made_to_fit(folder):
    save(folder / "rose" / "wide.png", np.zeros((4, 8), np.uint8))
    message = source(folder, (4, 6)).refused()
    assert f"{folder}/rose/wide.png: is 8 pixels wide and 4 high" in message
    assert "6 wide and 4 high" in message
    assert source(folder, (2, 3), resize=True).read().shape == (4, 7)


def test_shrinking_averages(tmp_path):
    chessboard = np.indices((8, 8)).sum(axis=0) % 2 * 200
    save(tmp_path / "daisy" / "a.png", chessboard.astype(np.uint8))
    save(tmp_path / "rose" / "a.png", GREY)
    frame = source(tmp_path, (2, 2), resize=True).read()
    assert np.abs(frame.iloc[0, :4].to_numpy(dtype=float) - 100).max() <= 2


def test_an_image_is_turned_as_its_exif_data_says(tmp_path):
    pixels = np.zeros((2, 4), np.uint8)
    pixels[0] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    save(tmp_path / "daisy" / "a.png", pixels, exif=exif)
    save(tmp_path / "rose" / "a.png", np.zeros((4, 2), np.uint8))
    frame = source(tmp_path, (4, 2)).read()
    assert frame.iloc[0, :8].tolist() == [0, 200] * 4


def test_folders_may_be_called_by_numbers(tmp_path):
    for number in ("0", "1"):
        save(tmp_path / number / "a.png", GREY)
    assert source(tmp_path, (4, 6), classes=[0, 1]).read()["kind"].tolist() == [0, 1]
    save(tmp_path / "two" / "a.png", GREY)
    assert "'two'" in source(tmp_path, (4, 6), classes=[0, 1]).refused()


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n and no more"])
def test_a_file_that_is_no_image_is_named(folder, content):
    (folder / "rose" / "b.png").write_bytes(content)
    assert f"{folder}/rose/b.png: cannot be read" in source(folder, (4, 6)).refused()


@pytest.mark.parametrize("name", ["daisy/b.JPG", "daisy/a.png"])
def test_a_file_that_is_cut_is_named(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-30])
    assert f"{path}: cannot be read" in source(folder, (4, 6)).refused()


def test_sixteen_bits_are_refused_and_not_cut_off(folder):
    save(folder / "rose" / "deep.png", np.full((4, 6), 40_000, np.uint16))
    assert "deep.png: has the pixels I;16" in source(folder, (4, 6)).refused()


def test_an_image_that_claims_to_be_huge_is_refused(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    assert "cannot be read" in source(folder, (4, 6)).refused()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "there is no such folder"),
        (lambda path: path.mkdir(), "no folder of a class"),
        (lambda path: (path / "rose").mkdir(parents=True), "there is no image in this class"),
    ],
)
def test_where_there_is_nothing_is_named(tmp_path, make, said):
    make(tmp_path / "flowers")
    assert said in source(tmp_path / "flowers", (4, 6)).refused()


@pytest.mark.parametrize(
    "columns",
    [
        {"width": {"type": "number"}},
        {"image": {"type": "image", "shape": [4, 6, 2]}},
        {"image": {"type": "image", "shape": [4, 6]}, "width": {"type": "number"}},
    ],
)
def test_columns_that_images_do_not_have_are_refused(folder, columns):
    made = source(folder, (4, 6))
    made.columns = columns
    assert "are not what a folder of images has" in made.refused()


def test_the_digest_tells_content_and_class_and_not_the_path(folder, tmp_path):
    before = source(folder, (4, 6)).digest()
    moved = folder.rename(folder.with_name(folder.name + "-moved"))
    assert source(moved, (4, 6)).digest() == before
    (moved / "rose" / "a.png").rename(moved / "rose" / "z.png")
    assert source(moved, (4, 6)).digest() == before
    (moved / "rose" / "z.png").rename(moved / "daisy" / "z.png")
    save(moved / "rose" / "a.png", GREY)
    assert source(moved, (4, 6)).digest() != before
