"""A layer's values follow from seed, name and shape alone; dropout's masks from its stream."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paribus.core.components.models import (
    ACTIVATIONS,
    CNN,
    MLP,
    Dropout,
    Linear,
    count_parameters,
    draw_parameters,
    set_dropout_streams,
)
from paribus.core.errors import RequestError
from paribus.core.rng import stream


def drawn(seed=0, **keywords):
    model = MLP(**({"in_features": 12, "out_features": 3, "hidden_dim": 8} | keywords))
    draw_parameters(model, seed)
    return model.state_dict()


def shared(first, second):
    """Names of the tensors that are equal; all others of one name and shape must differ."""
    names = {n for n in first if n in second and first[n].shape == second[n].shape}
    return {n for n in names if torch.equal(first[n], second[n])}


def test_layers_of_equal_name_and_shape_have_equal_values():
    one, three = drawn(num_layers=1), drawn(num_layers=3)
    assert shared(one, three) == {
        "hidden.0.0.weight",
        "hidden.0.0.bias",
        "output.weight",
        "output.bias",
    }
    assert shared(one, drawn(activation="tanh", dropout=0.5)) == set(one)
    assert shared(one, drawn(out_features=5)) == {"hidden.0.0.weight", "hidden.0.0.bias"}
    assert shared(drawn(num_layers=2), three) == set(drawn(num_layers=2))


def test_another_seed_is_other_values_everywhere():
    assert shared(drawn(0), drawn(1)) == set()
    assert shared(drawn(7), drawn(7)) == set(drawn(7))


def test_layers_of_one_shape_differ_from_each_other():
    state = drawn(num_layers=3)
    assert not torch.equal(state["hidden.1.0.weight"], state["hidden.2.0.weight"])


def test_draws_do_not_touch_or_need_the_global_generator():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    model = MLP(12, 3)
    after_making = torch.get_rng_state()
    draw_parameters(model, 0)
    assert torch.equal(torch.get_rng_state(), after_making)
    assert not torch.equal(
        before, after_making
    )  # torch's own initialisation drew, and was replaced


def test_the_distribution_is_torchs():
    weight = drawn(in_features=400, hidden_dim=500)["hidden.0.0.weight"]
    bound = 1 / 20
    assert weight.abs().max() <= bound
    assert weight.abs().max() > 0.999 * bound
    assert weight.mean().abs() < 1e-3
    assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.01)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 5),
    st.integers(1, 9),
    st.integers(0, 3),
    st.sampled_from(sorted(ACTIVATIONS)),
    st.sampled_from([(), (2,), (2, 3)]),
)
def test_mlp_shapes(batch, outputs, hidden, layers, activation, shape):
    features = 3 * int(torch.Size(shape).numel())
    model = MLP(features, outputs, hidden, layers, activation)
    assert model(torch.zeros(batch, 3, *shape)).shape == (batch, outputs)
    widths = [features, *[hidden] * layers, outputs]
    pairs = pairwise(widths)
    assert count_parameters(model) == sum((a + 1) * b for a, b in pairs)


def test_linear_flattens():
    model = Linear(12, 2)
    assert model(torch.zeros(5, 3, 4)).shape == (5, 2)
    draw_parameters(model, 0)
    first = model.weight.clone()
    draw_parameters(model, 0)
    assert torch.equal(first, model.weight)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(4, 9),
    st.integers(4, 9),
    st.integers(1, 4),
    st.integers(1, 2),
    st.sampled_from([1, 3, 5, 7]),
    st.booleans(),
)
def test_cnn_shapes(inputs, height, width, channels, blocks, kernel, norm):
    model = CNN(inputs, 3, [inputs, height, width], channels, blocks, kernel, batch_norm=norm)
    draw_parameters(model, 0)
    images = torch.randn(4, inputs, height, width)
    outputs = model.eval()(images)
    assert outputs.shape == (4, 3)
    torch.testing.assert_close(model(images[2:3]), outputs[2:3], rtol=1e-4, atol=1e-5)
    widths = [inputs, *(channels * 2**block for block in range(blocks))]
    convolutions = sum((a * kernel**2 + 1) * b for a, b in pairwise(widths))
    rest = widths[-1] * (height // 2**blocks) * (width // 2**blocks)
    assert count_parameters(model) == convolutions + 2 * norm * sum(widths[1:]) + (rest + 1) * 3


def test_cnn_is_convolution_normalization_leaky_relu_pool_dropout_linear():
    (block,) = (model := CNN(1, 2, [1, 4, 4], num_blocks=1, dropout=0.5)).blocks
    kinds = [type(layer).__name__ for layer in (*block, model.dropout, model.output)]
    wanted = ["Conv2d", "BatchNorm2d", "LeakyReLU", "MaxPool2d", "Dropout", "Linear"]
    assert kinds == wanted


def test_convolutions_are_drawn_by_name():
    def state(**keywords):
        model = CNN(**({"in_channels": 3, "out_features": 2, "input_shape": [3, 8, 8]} | keywords))
        draw_parameters(model, 0)
        return model.state_dict()

    one, two = state(num_blocks=1), state(num_blocks=2)
    assert {"blocks.0.0.weight", "blocks.0.0.bias"} <= shared(one, two)
    assert shared(two, state(activation="relu", dropout=0.5)) == set(two)
    weight = state(channels=400)["blocks.0.0.weight"]
    bound = 1 / 27**0.5
    assert 0.99 * bound < weight.abs().max() <= bound


def test_more_blocks_than_the_image_has_halves(write_small):
    data = "def squares():\n    return torch.rand(40, 1, 4, 7), torch.arange(40) % 2\n"
    with pytest.raises(RequestError) as caught:
        write_small(data).run(data="squares", model={"name": "cnn", "num_blocks": 3})
    assert "model cnn cannot be made: ValueError: 3 blocks halve 4×7 pixels to nothing." in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("cnn", "model cnn needs 'in_channels', which does not follow from this data."),
        ("text_bag", "model text_bag needs 'vocab_size', which does not follow from this data."),
    ],
)
def test_models_of_other_data(small, model, words):
    with pytest.raises(RequestError) as caught:
        small.run(model=model)
    assert words in str(caught.value)


def masked(p, size=40_000, seed=0, epoch=1):
    layer = Dropout(p)
    layer.generator = stream(seed, "dropout", epoch, "x")
    return layer(torch.ones(size))


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_dropout_rate_and_scale(p):
    out = masked(p)
    deviation = (p * (1 - p) / len(out)) ** 0.5
    assert (out == 0).double().mean() == pytest.approx(p, abs=5 * deviation)
    kept = out[out != 0]
    assert kept.unique().numel() == 1
    assert kept[0].item() == pytest.approx(1 / (1 - p), rel=1e-4)


def test_the_rate_is_the_same_at_every_place_of_a_draw():
    zeros = (masked(0.3) == 0).view(-1, 4).double().mean(0)  # four masks come from one 64-bit draw
    assert zeros.tolist() == pytest.approx([0.3] * 4, abs=0.025)


@pytest.mark.parametrize("p", [0.0, 1e-9, 0.999999, 1 - 1e-12])
def test_extreme_rates_stay_finite(p):
    out = masked(p, size=1001)
    assert out.isfinite().all()
    assert torch.equal(out, torch.ones(1001)) is (p < 0.5)


def test_the_same_stream_gives_the_same_masks():
    assert torch.equal(masked(0.5), masked(0.5))
    assert not torch.equal(masked(0.5), masked(0.5, epoch=2))
    assert not torch.equal(masked(0.5), masked(0.5, seed=1))


def test_layers_have_streams_of_their_own_whatever_the_depth():
    def outputs(layers):
        model = MLP(4, 2, 8, layers, "identity", 0.5).train()
        draw_parameters(model, 0)
        set_dropout_streams(model, seed=3, epoch=2)
        x = torch.ones(6, 4)
        found = []
        for layer in model.hidden:
            x = layer(x)
            found.append(x == 0)
        return found

    deep = outputs(3)
    assert torch.equal(outputs(1)[0], deep[0])
    assert not torch.equal(deep[0], deep[1])


def test_evaluation_is_the_identity_and_masks_repeat_after_it():
    layer = Dropout(0.5).eval()
    x = torch.randn(3, 5)
    assert layer(x) is x
    assert Dropout(0.0).train()(x) is x


def test_a_rate_that_is_set_later_counts():
    """A cohort reads it from the layer when training begins: the loop must not know another."""
    layer = Dropout(0.0)
    layer.p = 0.5
    layer.generator = stream(0, "dropout", 1, "x")
    assert torch.equal(layer(torch.ones(1000)), masked(0.5, size=1000))


def test_gradients_pass_where_units_were_kept():
    layer = Dropout(0.5)
    layer.generator = stream(0, "dropout", 1, "x")
    x = torch.ones(1000, requires_grad=True)
    out = layer(x)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())
