import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from resnet_jax.errors import ConfigError
from resnet_jax.inference.classifier import Classifier, logits_function
from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.serving.engine import Engine


def images(count):
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def test_every_size_of_batch_gives_the_same_with_few_programs(trained):
    engine = Engine(trained, batch_size=10)
    engine.warm_up()
    assert engine.compilations == 3  # 1, 2 and 10
    expected = Classifier(trained, batch_size=10)(images(10))
    for count in range(1, 11):
        # Probabilities in float32, by programs of other sizes: 5e-7 apart at most with SSE4.2.
        np.testing.assert_allclose(engine.classify(images(count)), expected[:count], atol=1e-5)
    assert engine.compilations == 3


def test_an_explanation_is_a_photo_of_a_class(trained):
    engine = Engine(trained, batch_size=1)
    (photo,) = images(1)
    likeliest = int(engine.classify(photo[None])[0].argmax())
    png, index = engine.explain(photo, None)
    assert index == likeliest
    assert Image.open(io.BytesIO(png)).size == (224, 224)
    assert engine.explain(photo, 3)[1] == 3


def test_a_network_of_several_classes_gives_each_its_own_probability(trained):
    several = dataclasses.replace(trained.inputs, multi_label=True)
    engine = Engine(dataclasses.replace(trained, inputs=several), batch_size=2)
    logits_of, state = logits_function(trained)
    logits = np.asarray(logits_of(state, images(2)), np.float64)
    # In float32, whose smallest step below 1 is 6e-8.
    np.testing.assert_allclose(engine.classify(images(2)), 1 / (1 + np.exp(-logits)), atol=1e-5)
    assert (abs(engine.classify(images(2)).sum(axis=-1) - 1) > 1e-3).all()


def test_a_network_without_a_size_is_refused(trained):
    with pytest.raises(ConfigError, match=r"any size: choose one with --inputs.size=N"):
        Engine(dataclasses.replace(trained, inputs=NetworkInputs()), batch_size=1)
