import chex
import pytest
from flax import nnx

from resnet_jax import weights
from resnet_jax.errors import ConfigError
from resnet_jax.training.recipe.config import FinetuneConfig, ModelConfig, TrainConfig
from resnet_jax.training.step.state import build_model, load_variables, variables_of


def test_width_multiplies_every_width():
    model = nnx.eval_shape(
        lambda: build_model(ModelConfig("resnet8", 10, in_features=3, width=0.25), rngs=nnx.Rngs(0))
    )
    assert (model.config.stem_features, model.config.widths) == (4, (4, 8, 16))
    assert model.head.kernel.shape == (16, 10)


def test_a_width_that_is_not_whole_is_refused():
    with pytest.raises(
        ConfigError, match=r"^model\.width=0\.3: resnet8 would have widths of 4\.8, "
    ):
        build_model(ModelConfig("resnet8", 10, in_features=3, width=0.3), rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "resnet26"}, "does nothing in float32; set model.dtype=bfloat16"),
        ({"name": "resnet20", "dtype": "bfloat16"}, "does nothing in resnet20: no BatchNorm"),
        ({"name": "resnetv2_50d", "dtype": "bfloat16"}, "does nothing in resnetv2_50d: no"),
    ],
)
def test_folded_norms_that_would_change_nothing_are_refused(settings, message):
    config = ModelConfig(num_classes=10, in_features=3, fold_norms=True, **settings)
    with pytest.raises(ConfigError, match=message):
        nnx.eval_shape(lambda: build_model(config, rngs=nnx.Rngs(0)))


def test_the_pool_of_the_recipe_comes_before_the_classifier():
    config = ModelConfig("resnet8", 10, in_features=3, global_pool="catavgmax")
    model = nnx.eval_shape(lambda: build_model(config, rngs=nnx.Rngs(0)))
    assert (model.global_pool, model.head.kernel.shape) == ("catavgmax", (128, 10))


def test_finetuning_takes_the_widths_of_the_recipe(tmp_path):
    narrow = ModelConfig("resnet8", 10, in_features=3, width=0.25)
    model = build_model(narrow, rngs=nnx.Rngs(3))
    weights.save(model, tmp_path / "narrow.safetensors")
    config = TrainConfig(
        model=narrow, finetune=FinetuneConfig(str(tmp_path / "narrow.safetensors"))
    )
    loaded = load_variables(config, config.finetune.weights)
    chex.assert_trees_all_equal(loaded, variables_of(model))
