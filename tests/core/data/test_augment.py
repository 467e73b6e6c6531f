"""Augmentation: the training part only, drawn by seed, epoch and example, in any company."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paribus.core.config.schema import Component, Split
from paribus.core.data import images as module
from paribus.core.data.images import Images, make_augment
from paribus.core.data.load import load
from paribus.core.data.prepare import prepare
from paribus.core.errors import RequestError

N, SIDE = 12, 5
PLAIN = torch.rand(N, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
TRANSFORMS = [
    {"name": "RandomHorizontalFlip"},
    {"name": "RandomCrop", "size": SIDE, "padding": 2},
    {"name": "ColorJitter", "brightness": 0.5},
]
seeds = st.integers(0, 2**31)


def prepared(method="in_order", standardize=False, transforms=TRANSFORMS, features=PLAIN):
    augment = make_augment([Component(**t) for t in transforms])
    source = load(lambda: (features, [0, 1] * (N // 2)), {}, name="mine", seed=0, targets="classes")
    split = Split(method=method, val_fraction=0.25, test_fraction=0.25)
    return prepare(source, split, standardize, augment)


def read(part, batch_size=4, order=None, draw=None, workers=0):
    batches = part.batches(batch_size, order, draw, workers=workers)
    return torch.cat([inputs for inputs, _ in batches])


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(6)), st.integers(1, 7), seeds, st.integers(1, 99), st.integers(1, 6))
def test_draws_follow_from_seed_epoch_and_example_alone(order, batch_size, seed, epoch, visited):
    train = prepared().train
    rows = torch.tensor(order)[:visited]
    whole = read(train, 6, torch.arange(6), (seed, epoch))
    random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
    assert torch.equal(read(train, batch_size, rows, (seed, epoch)), whole[rows])
    for other in ((seed + 1, epoch), (seed, epoch + 1)):
        assert not torch.equal(read(train, 6, torch.arange(6), other), whole)


def test_loader_workers_draw_the_same():
    train, order = prepared(standardize=True).train, torch.tensor([4, 0, 3, 1, 2])
    here = read(train, 2, order, (7, 3))
    assert torch.equal(read(train, 2, order, (7, 3), workers=2), here)
    assert not torch.equal(here, read(train, 2, order))


def test_each_example_is_drawn_for_itself():
    alike = PLAIN[:1].expand(N, -1, -1, -1)
    drawn = read(prepared(features=alike).train, draw=(0, 1))
    assert len(drawn.flatten(1).unique(dim=0)) == 6


@pytest.mark.parametrize("standardize", [False, True])
def test_only_training_is_augmented_and_only_where_draws_are_given(standardize):
    data = prepared(standardize=standardize)
    bare = prepared(standardize=standardize, transforms=[])
    for part in ("train", "val", "test"):
        assert torch.equal(read(data.part(part)), read(bare.part(part))), part
    for part in ("val", "test"):
        assert torch.equal(read(data.part(part), draw=(0, 1)), read(bare.part(part))), part
    assert not torch.equal(read(data.train, draw=(0, 1)), read(bare.train))


def test_figures_are_of_the_plain_images_and_applied_after_the_draws():
    data, plain = prepared(standardize=True), prepared()
    recipe = data.preprocessing["standardize"]
    assert recipe["mean"] == pytest.approx(PLAIN[:6].mean((0, 2, 3)).tolist())
    mean, scale = (torch.tensor(recipe[k]).view(3, 1, 1) for k in ("mean", "scale"))
    expected = (read(plain.train, draw=(3, 1)) - mean) / scale
    torch.testing.assert_close(read(data.train, draw=(3, 1)), expected)


def test_global_generators_are_untouched():
    def state():
        return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()

    before, train = state(), prepared().train
    for _ in train.batches(2, draw=(0, 1)):
        assert state() == before
    assert state() == before


def test_images_that_stay_in_their_files_are_drawn_by_example_too(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setattr(module, "IN_MEMORY", 0)
    paths = [tmp_path / f"{row:02}.png" for row in range(N)]
    for path, image in zip(paths, PLAIN, strict=True):
        Image.fromarray((image.permute(1, 2, 0) * 255).byte().numpy()).save(path)
    train = prepared(features=Images(paths)).train
    whole = read(train, 6, torch.arange(6), (7, 2))
    order = torch.tensor([4, 1, 5])
    assert torch.equal(read(train, 2, order, (7, 2)), whole[order])
    assert not torch.equal(read(train, 6, torch.arange(6), (7, 3)), whole)
    assert torch.equal(read(train), read(prepared(transforms=[], features=Images(paths)).train))


# ------------------------------------------------------------------ what is refused

DATA = """
def squares(n: int = 40):
    x = torch.sin(torch.arange(n * 48.0)).reshape(n, 3, 4, 4)
    return x, torch.arange(n) % 2
"""


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        (["RandomHorizontalFlipp"], "v2 has no 'RandomHorizontalFlipp'. Did you mean 'RandomHor"),
        (["Transform2"], "torchvision.transforms.v2 has no 'Transform2'."),
        ([{"name": "RandomCrop", "sized": 4}], "has no keyword 'sized'. Did you mean 'size'?"),
        (["RandomCrop"], "RandomCrop"),
        ([{"name": "RandomHorizontalFlip", "p": 2.0}], "augment RandomHorizontalFlip"),
        ([{"name": "RandomCrop", "size": 3}], "makes [3, 3, 3] (torch.float32) of an image of"),
        ([{"name": "RandomCrop", "size": 9}], "cannot take an image of shape [3, 4, 4]"),
    ],
)
def test_transforms_that_cannot_be_used(write_small, augment, words):
    with pytest.raises(RequestError) as caught:
        write_small(DATA).run(data="squares", augment=augment)
    assert words in str(caught.value)
    assert str(caught.value).startswith("augment")


def test_all_faults_of_all_transforms_are_reported_together():
    with pytest.raises(RequestError) as caught:
        make_augment([Component(name="Foo"), Component(name="RandomCrop", sized=3)])
    assert len(str(caught.value).splitlines()) >= 2


def test_what_is_no_image_is_not_augmented(small):
    with pytest.raises(
        RequestError, match=r"^augment is for images, and data small\.py:waves give"
    ):
        small.run(augment=["RandomHorizontalFlip"])


def test_augmentation_is_of_the_identity(write_small):
    small = write_small(DATA)
    names = ([], ["RandomHorizontalFlip"], [{"name": "RandomHorizontalFlip", "p": 0.25}])
    assert len({small.run(data="squares", model="cnn", augment=n).id for n in names}) == 3
