"""Image folders: what is read as what, and what is refused by its path."""

import re

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from paribus.core.config.schema import Split
from paribus.core.data import images as module
from paribus.core.data.images import decode, images
from paribus.core.data.load import load
from paribus.core.data.loader import Items
from paribus.core.data.prepare import prepare
from paribus.core.errors import RequestError


def pixels(seed, height=6, width=5, channels=3):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, channels)).astype(np.uint8).squeeze()


def draw(folder, name, array, **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two classes of six pictures each."""
    for number in range(12):
        draw(tmp_path / "pets", f"{'cat' if number % 2 else 'ant'}/{number:02}.png", pixels(number))
    return tmp_path / "pets"


def read(root, **keywords):
    return load(images, {"root": str(root), **keywords}, name="data images", seed=0,
                targets="classes")  # fmt: skip


def inputs(root, **keywords):
    return read(root, **keywords).parts["all"].inputs


def refusal_of(root, **keywords):
    with pytest.raises(RequestError) as caught:
        read(root, **keywords)
    return str(caught.value)


def test_a_folder_for_each_class_in_order_of_name(folder):
    source = read(folder)
    assert source.class_names == ("ant", "cat")
    assert source.input_shape == (3, 6, 5)
    part = source.parts["all"]
    assert part.targets.tolist() == [0] * 6 + [1] * 6
    order = [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]
    expected = torch.from_numpy(np.stack([pixels(n) for n in order])).permute(0, 3, 1, 2) / 255
    assert torch.equal(part.inputs, expected)
    assert source.decoding["size"] == [6, 5]


def test_other_files_and_hidden_ones_are_no_images(folder):
    before = read(folder).fingerprint
    (folder / "cat" / "notes.txt").write_text("no image")
    (folder / "cat" / ".hidden.png").write_text("no image")
    (folder / ".cache").mkdir()
    (folder / "README").write_text("no class")
    assert read(folder).fingerprint == before


def test_copies_and_thumbnails_that_other_programs_add_are_no_examples(folder):
    before = read(folder).fingerprint
    for name in (".ipynb_checkpoints/01-checkpoint.png", "__MACOSX/01.png", "@eaDir/01.png"):
        draw(folder / "cat", name, pixels(1))
        draw(folder, name, pixels(1))
    (folder / "cat" / "._01.png").write_bytes(b"of macOS")
    (folder / "cat" / "Thumbs.db").write_bytes(b"of Windows")
    assert read(folder).fingerprint == before
    draw(folder, "train/.ipynb_checkpoints/1.png", pixels(1))
    draw(folder, "train/1.png", pixels(1))
    assert read(folder).class_names == ("ant", "cat", "train")  # no folder of parts


def test_linked_folders_are_followed_and_each_folder_is_read_once(tmp_path, folder):
    elsewhere = draw(tmp_path, "elsewhere/12.png", pixels(12)).parent
    (folder / "cat" / "more").symlink_to(elsewhere)
    (folder / "cat" / "again").symlink_to(elsewhere)
    (elsewhere / "loop").symlink_to(folder / "cat")
    assert len(read(folder).parts["all"]) == 13
    (folder / "dog").symlink_to(elsewhere)
    assert read(folder).class_names == ("ant", "cat", "dog")


@pytest.mark.parametrize("place", [".", "cat"])
def test_a_link_that_leads_nowhere_is_named(folder, place):
    (folder / place / "more").symlink_to(folder / "gone")
    assert refusal_of(folder) == (
        f"{folder / place}: the link more leads nowhere. Correct it, or take it away."
    )


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_an_image_is_turned_as_its_exif_orientation_says(tmp_path, suffix):
    upright = np.repeat(np.repeat(pixels(0, 4, 6), 8, 0), 8, 1)
    expected = decode(draw(tmp_path, f"upright.{suffix}", upright), 3, None)
    turned = Image.Exif()
    turned[0x112] = 6  # the camera was held upright: 90° clockwise shows it as it was
    path = draw(tmp_path, f"turned.{suffix}", np.rot90(upright), exif=turned)
    found = decode(path, 3, None)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 0.15  # JPEG loses some


def test_ready_made_parts(tmp_path, folder):
    for name in ("train", "valid", "test"):
        (tmp_path / name).symlink_to(folder)
    data = prepare(read(tmp_path), Split(method="random"), standardize=None)
    assert [len(data.train), len(data.val), len(data.test)] == [12, 12, 12]
    (tmp_path / "test").unlink()
    assert "test" not in read(tmp_path).parts


def test_a_class_may_be_called_like_a_part(tmp_path):
    for name in ("train", "bus", "test"):
        draw(tmp_path, f"{name}/1.png", pixels(0))
    assert read(tmp_path).class_names == ("bus", "test", "train")


def test_training_images_without_any_for_validation(tmp_path):
    for name in ("train/cat", "train/ant", "test/cat"):
        draw(tmp_path, f"{name}/1.png", pixels(0))
    assert refusal_of(tmp_path) == (
        f"{tmp_path} has train, test, but no folders of classes in val or valid or validation. Add "
        f"one, or give data.root={tmp_path}/train, which is then split."
    )


def test_classes_that_training_never_saw(tmp_path, folder):
    for name in ("train", "val"):
        draw(tmp_path, f"{name}/cat/1.png", pixels(0))
        draw(tmp_path, f"{name}/ant/1.png", pixels(1))
    draw(tmp_path, "val/dog/1.png", pixels(2))
    words = f"{tmp_path}: val has the class dog, which train does not have. Give training examples"
    assert refusal_of(tmp_path).startswith(words)


# ------------------------------------------------------------------ formats


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_form_of_a_picture_gives_the_channels_that_were_asked(tmp_path, mode, channels):
    image = Image.fromarray(pixels(0))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    image.save(tmp_path / "a.tif" if mode == "CMYK" else tmp_path / "a.png")
    found = decode(next(tmp_path.iterdir()), channels, None)
    assert found.shape == (channels, 6, 5)
    assert found.dtype == torch.float32
    assert 0 <= found.min() < found.max() <= 1
    grey = torch.from_numpy(np.array(Image.fromarray(pixels(0)).convert("L"))) / 255
    if mode in ("L", "LA", "I;16"):
        assert all(torch.equal(channel, grey) for channel in found)


def test_what_is_transparent_keeps_its_colour(tmp_path):
    array = np.dstack([pixels(0), np.zeros((6, 5), np.uint8)])
    opaque = draw(tmp_path, "a.png", pixels(0))
    assert torch.equal(decode(draw(tmp_path, "b.png", array), 3, None), decode(opaque, 3, None))


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_16_bits_keep_their_levels(tmp_path, name):
    levels = np.array([[0, 1, 2, 300], [256, 511, 65534, 65535]], np.uint16)
    path = draw(tmp_path, name, levels)
    grey = torch.from_numpy(levels.astype(np.float32) / np.float32(65535))
    for channels in (1, 3):
        assert torch.equal(decode(path, channels, None), grey.expand(channels, 2, 4))
    even = draw(tmp_path, f"even-{name}", np.full((9, 9), 300, np.uint16))
    assert decode(even, 1, (4, 4)).numpy() == pytest.approx(300 / 65535, rel=1e-6)


@pytest.mark.parametrize(("kind", "levels"), [("f4", "fractions"), ("i4", "32-bit integers")])
def test_levels_of_no_known_range(tmp_path, kind, levels):
    path = draw(tmp_path, "a.tif", np.ones((4, 4), kind))
    with pytest.raises(
        RequestError, match=f"as an image: its levels are {levels}, which have no kno"
    ):
        decode(path, 3, None)


def test_sizes(folder):
    wide = draw(folder, "cat/wide.png", pixels(0, 6, 9))
    words = f"{wide} is 6×9 pixels (height×width); expected 6×5, as all others are."
    assert refusal_of(folder) == f"{words} Bring it to that size, or train with data.size=[6,5]."
    assert inputs(folder, size=[6, 5]).shape == (13, 3, 6, 5)
    assert inputs(folder, size=4, channels=1).shape == (13, 1, 4, 4)
    alike = inputs(folder, size=[6, 5])
    draw(folder, "cat/wider.png", pixels(0, 6, 9))
    assert refusal_of(folder).startswith(f"{words} 1 more differ too.")
    (folder / "cat/wider.png").unlink()
    wide.unlink()
    assert torch.equal(alike[:12], inputs(folder))  # those of this size are not changed


def test_too_many_for_memory_are_read_from_their_files(folder, monkeypatch):
    def parts():
        split = Split(method="stratified", val_fraction=0.25, test_fraction=0.25)
        data = prepare(read(folder), split, standardize=None)
        return data, [next(part.batches(20)) for part in (data.train, data.val, data.test)]

    (held, first), _ = parts(), monkeypatch.setattr(module, "IN_MEMORY", 0)
    streamed, second = parts()
    for (x, y), (other_x, other_y) in zip(first, second, strict=True):
        assert torch.equal(x, other_x)
        assert torch.equal(y, other_y)
    assert streamed.class_names == held.class_names == ("ant", "cat")
    assert streamed.preprocessing["image"] == held.preprocessing["image"]


def test_parts_of_which_one_is_too_large_for_memory_are_all_read_from_their_files(
    tmp_path, folder, monkeypatch
):
    (tmp_path / "train").symlink_to(folder)
    for name in ("ant", "cat"):
        draw(tmp_path, f"val/{name}/1.png", pixels(0))
    monkeypatch.setattr(module, "IN_MEMORY", 4 * 3 * 6 * 5 * 4)  # four images
    parts = read(tmp_path).parts
    assert {key: type(part.inputs) for key, part in parts.items()} == {"train": Items, "val": Items}
    assert next(parts["val"].batches(2))[0].shape == (2, 3, 6, 5)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp"])
@settings(max_examples=25, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.data())
def test_a_damaged_file_is_decoded_or_named(tmp_path, suffix, data):
    path = draw(tmp_path, f"whole.{suffix}", pixels(0))
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    message = refusal(path)
    assert message is None or message.startswith(f"{path} cannot be decoded as an image: ")


def refusal(path):
    try:
        assert decode(path, 3, (6, 5)).shape == (3, 6, 5)
    except RequestError as error:
        return str(error)


@pytest.mark.parametrize("place", ["ant/00.png", "cat/07.png"])
@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_a_file_that_cannot_be_decoded_is_named(folder, place, content):
    path = folder / place
    path.write_bytes(path.read_bytes()[:60] if content is None else content)
    words = re.escape(f"{path} cannot be decoded as an image: ") + ".+ Replace it, or take it out"
    assert re.match(words, refusal_of(folder))


@pytest.mark.parametrize("in_memory", [True, False])
def test_all_files_that_cannot_be_decoded_are_named_together(folder, monkeypatch, in_memory):
    if not in_memory:
        monkeypatch.setattr(module, "IN_MEMORY", 0)
    damaged = [folder / place for place in ("ant/00.png", "ant/02.png", "cat/07.png")]
    for path in damaged:
        path.write_bytes(b"")
    named = [line.partition(" cannot")[0] for line in refusal_of(folder).splitlines()]
    assert named == [str(path) for path in damaged]
    for path in folder.rglob("*.png"):
        path.write_bytes(b"")
    assert len(refusal_of(folder).splitlines()) == 12


def test_damaged_files_of_all_parts_are_named_together(tmp_path):
    for part in ("train", "val"):
        for name in ("ant", "cat"):
            draw(tmp_path, f"{part}/{name}/1.png", pixels(0))
            draw(tmp_path, f"{part}/{name}/2.png", pixels(0)).write_bytes(b"")
    assert len(refusal_of(tmp_path).splitlines()) == 4


def test_a_root_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refusal_of("pets") == (
        f"There is no folder pets (looked for {tmp_path}/pets). Give data.root=FOLDER, with one "
        "folder of images for each class."
    )
    file = draw(tmp_path, "a.png", pixels(0))
    assert refusal_of(file).startswith(f"There is no folder {file}")


def test_a_wrong_layout_says_what_was_looked_for(tmp_path):
    draw(tmp_path, "1.png", pixels(0))
    assert refusal_of(tmp_path) == (
        f"{tmp_path} has no folders; one for each class was looked for, such as "
        f"{tmp_path}/cat/1.png, or the folders train and val with these. Put "
        "each class's images into a folder of its own, and name the folder of these."
    )


def test_an_empty_class(folder):
    (folder / "dog").mkdir()
    (folder / "dog" / "notes.txt").write_text("")
    assert refusal_of(folder).startswith(
        f"{folder}: no image in the folder of class dog (looked for .png, .jpg,"
    )
    assert refusal_of(folder).endswith("Fill it, or take it away.")


def test_one_class(folder):
    for path in (folder / "cat").iterdir():
        path.unlink()
    (folder / "cat").rmdir()
    assert "there is only one class, 'ant'; at least two are needed" in refusal_of(folder)


@pytest.mark.parametrize("size", [[4], [4, 4, 4]])
def test_a_size_is_one_number_or_two(folder, size):
    assert refusal_of(folder, size=size) == f"data.size={size}: must be one number or two."
