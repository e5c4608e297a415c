import dataclasses
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from resnet_jax.errors import ConfigError
from resnet_jax.inference.explain import (
    Explainer,
    grad_cam,
    logits_of_map,
    overlay,
    png,
    resolve_stage,
    stage_map,
)
from resnet_jax.models import ResNetConfig

POST = ResNetConfig(
    depths=(1, 1), widths=(8, 16), stem="cifar", stem_features=8, activation="silu", num_classes=3
)
BEFORE = dataclasses.replace(POST, block="preactivation_basic")
POOLED = dataclasses.replace(POST, stem="imagenet")


@pytest.fixture(params=[POST, BEFORE, POOLED], ids=["post", "pre", "pooled"])
def model(request, build):
    return build(request.param)


@pytest.fixture
def images():
    return jax.random.normal(jax.random.key(5), (2, 16, 16, 3))


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_every_map_leads_to_the_logits(model, images, stage):
    found = stage_map(model, images, stage)
    np.testing.assert_allclose(logits_of_map(model, found, stage), model(images), atol=1e-5)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_grad_cam_equals_finite_differences(model, images, stage):
    classes = jnp.array([2, 0])
    cam, _ = jax.jit(lambda x: grad_cam(model, x, classes, stage=stage))(images)
    maps = stage_map(model, images, stage)
    places = maps.shape[1] * maps.shape[2]
    step = 1e-2

    @jax.jit
    def score(moved):
        return jnp.take_along_axis(logits_of_map(model, moved, stage), classes[:, None], 1)[:, 0]

    expected = np.zeros(maps.shape[:3])
    for channel in range(maps.shape[3]):
        # Moving a whole channel sums its gradient over space.
        move = step * jnp.zeros(maps.shape[3]).at[channel].set(1)
        weight = (score(maps + move) - score(maps - move)) / (2 * step * places)
        expected += np.asarray(weight)[:, None, None] * np.asarray(maps)[..., channel]
    expected = expected.clip(min=0)
    np.testing.assert_allclose(cam, expected, atol=2e-4 * expected.max())
    assert expected.max() > 0


def test_the_last_map_of_a_preactivation_network_is_normalised_and_activated(build, images):
    model = build(dataclasses.replace(BEFORE, activation="relu"))
    found = stage_map(model, images, 2)
    assert float(found.min()) >= 0 > float(model.features(images)[-1].min())
    # Its classifier averages that very map: the weights are the classifier's own.
    cam, classes = grad_cam(model, images)
    kernel = np.asarray(model.head.kernel[...])[:, np.asarray(classes)].T
    places = found.shape[1] * found.shape[2]
    expected = (np.asarray(found) * kernel[:, None, None]).sum(-1).clip(min=0) / places
    np.testing.assert_allclose(cam, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(classes, model(images).argmax(-1))


def test_stages_count_from_both_ends(build):
    model = build()
    assert [resolve_stage(model, stage) for stage in (0, 1, 2, -1, -2, -3)] == [0, 1, 2, 2, 1, 0]
    with pytest.raises(ConfigError, match=r"stage=3: the network has the stages 1 to 2"):
        resolve_stage(model, 3)


def test_one_image_is_explained(trained):
    explain = Explainer(trained, stage=-1)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    cam, index, probabilities = explain(pixels)
    assert cam.shape == (4, 4)
    assert index == probabilities.argmax()
    other, chosen, _ = explain(pixels, (index + 1) % 3)
    assert chosen == (index + 1) % 3
    assert not np.allclose(cam, other)


def test_the_overlay_is_red_where_the_map_is_large():
    cam = np.zeros((4, 4), np.float32)
    cam[0, 0] = 3.0
    blended = overlay(np.full((32, 32, 3), 128, np.uint8), cam)
    assert blended.size == (224, 224)
    decoded = np.asarray(Image.open(io.BytesIO(png(blended)))).astype(int)
    assert decoded[5, 5, 0] > decoded[5, 5, 2]
    assert decoded[-5, -5, 0] < decoded[-5, -5, 2] + 40
    grey = overlay(np.zeros((300, 280, 1), np.uint8), np.zeros((4, 4), np.float32))
    assert grey.size == (280, 300)
