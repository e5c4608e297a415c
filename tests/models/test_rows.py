"""A row in a table is all that a new stem or a new norm needs."""

import collections
import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from resnet_jax.models import ResNet, ResNetConfig
from resnet_jax.models.stem import STEM_POOLS, STEMS, AnyStem, StemKind
from resnet_jax.models.tables import NORMS, NormKind
from resnet_jax.zoo import Changes, usual_inputs
from resnet_jax.zoo.costs import cost, native_size


class PatchStem(AnyStem):
    """One convolution, without a norm."""

    def __init__(self, in_features, features, *, stride, pool, parts, last):
        self.conv = parts.conv(in_features, features, 3, stride=stride)
        self.last_act = last.act
        self.pool = pool.build(features, parts=parts)

    def responses(self, x):
        return [self.conv(x)]


def root_mean_square(features, *, epsilon=1e-5, **settings):
    return nnx.RMSNorm(features, epsilon=epsilon, **settings)


def test_a_stem_is_a_row(monkeypatch):
    row = StemKind(PatchStem, 4, pool="none", torch_names=(("conv", "conv1"),), image_size=48)
    monkeypatch.setitem(STEMS, "patch", row)
    config = ResNetConfig(depths=(1, 1), widths=(64, 64), stem="patch", num_classes=3)
    model = nnx.eval_shape(lambda: ResNet(config, rngs=nnx.Rngs(0)))
    assert [info.stride for info in model.feature_info] == [4, 4, 8]
    assert native_size("mine", config) == 48
    assert cost(config, 48).parameters > 0
    assert (usual_inputs(config).size, usual_inputs(config).crop_fraction) == (48, 0.875)


def test_a_norm_is_a_row(monkeypatch):
    monkeypatch.setitem(NORMS, "rms", NormKind(root_mean_square))
    config = ResNetConfig(depths=(1,), widths=(64,), norm="rms", num_classes=3)

    def logits():
        return ResNet(config, rngs=nnx.Rngs(0))(jnp.ones((2, 32, 32, 3)))

    assert jax.eval_shape(logits).shape == (2, 3)


def test_a_layer_of_the_stems_has_one_name_in_pytorch():
    """Rules of names see a path, and not which stem it belongs to."""
    for table in (STEMS, STEM_POOLS):
        names = collections.defaultdict(set)
        for row in table.values():
            for ours, theirs in row.torch_names:
                names[ours].add(theirs)
        assert all(len(theirs) == 1 for theirs in names.values())


def test_what_a_caller_may_change_is_a_field_of_the_config():
    fields = {field.name for field in dataclasses.fields(ResNetConfig)}
    assert Changes.__annotations__.keys() <= fields
