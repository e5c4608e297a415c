import dataclasses
import json

import pytest

from resnet_jax.errors import ConfigError
from resnet_jax.training.recipe.config import (
    EmaConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    ResizeConfig,
    TrainConfig,
)
from resnet_jax.training.recipe.fields import recipe_fields, resembling, values_by_field
from resnet_jax.training.recipe.overrides import (
    differing_fields,
    from_json,
    parse_overrides,
    to_json,
    validate,
)


def test_json_round_trip_keeps_every_value():
    config = TrainConfig(
        seed=3,
        model=ModelConfig(norm_group_size=32),
        optimizer=OptimizerConfig(betas=(0.8, 0.95), clip_norm=1.0),
        ema=EmaConfig(decay=0.5),
    )
    assert from_json(to_json(config)) == config
    assert from_json(to_json(TrainConfig())) == TrainConfig()
    for weights in ("balanced", (1.0, 2.0), {"cat": 2.0}):
        config = TrainConfig(loss=LossConfig(class_weights=weights))
        assert from_json(to_json(config)) == config


def test_the_loss_of_an_older_record_is_read():
    old = json.loads(to_json(TrainConfig())) | {
        "loss": "bce",
        "label_smoothing": 0.1,
        "bce_threshold": None,
    }
    assert from_json(json.dumps(old)).loss == LossConfig("bce", label_smoothing=0.1)
    assert from_json('{"loss": "cross_entropy"}').loss == LossConfig("cross_entropy")


@pytest.mark.parametrize(
    ("word", "path", "value"),
    [
        ("optimizer.learning_rate=0.05", "optimizer.learning_rate", 0.05),
        ("optimizer.learning_rate=1e-3", "optimizer.learning_rate", 0.001),
        ("optimizer.nesterov=true", "optimizer.nesterov", True),
        ("optimizer.clip_norm=none", "optimizer.clip_norm", None),
        ("optimizer.betas=[0.9,0.99]", "optimizer.betas", (0.9, 0.99)),
        ("optimizer.betas=(0.9, 0.99)", "optimizer.betas", (0.9, 0.99)),
        ("optimizer.betas=0.9,.99", "optimizer.betas", (0.9, 0.99)),
        ("schedule.milestones=[0.3,0.6]", "schedule.milestones", (0.3, 0.6)),
        ("schedule.milestones=(0.3,)", "schedule.milestones", (0.3,)),
        ("schedule.milestones=0.3", "schedule.milestones", (0.3,)),
        ("schedule.milestones=()", "schedule.milestones", ()),
        ("data.std=0.25", "data.std", (0.25,)),
        ("model.name=20", "model.name", "20"),
        ("data.channels=3", "data.channels", 3),
        ("data.data_dir=/a=b", "data.data_dir", "/a=b"),
        ("data.validation_split=none", "data.validation_split", None),
        ("ema.decay=0.5", "ema", EmaConfig(decay=0.5)),
        ('ema={"decay":0.5}', "ema", EmaConfig(decay=0.5)),
        ("ema=none", "ema", None),
        ("resize.first=128", "resize", ResizeConfig(first=128)),
        ("loss.class_weights=balanced", "loss.class_weights", "balanced"),
        ("loss.class_weights=1,0.5", "loss.class_weights", (1.0, 0.5)),
        ("loss.class_weights=a b:2,c:d:.5", "loss.class_weights", {"a b": 2.0, "c:d": 0.5}),
        ('loss.class_weights={"a":2}', "loss.class_weights", {"a": 2.0}),
    ],
)
def test_override_reads_the_type_of_its_field(word, path, value):
    changed = parse_overrides(TrainConfig(), [f"--config.{word}"])
    for name in path.split("."):
        changed = getattr(changed, name)
    assert changed == value
    assert type(changed) is type(value)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("optimizer.learning_rat=1", "has no field 'learning_rat'. Did you mean 'learning_rate'?"),
        ("optimzer.learning_rate=1", "config has no field 'optimzer'. Did you mean 'optimizer'?"),
        ("seed.x=1", "seed is a plain value: it has no field 'x'"),
        ("epochs=many", "epochs='many': must be a valid integer"),
        ("epochs=1.5", "epochs=1.5: must be a valid integer"),
        ("epochs=0", "epochs=0: must be greater than 0"),
        ("optimizer.learning_rate=-1", "optimizer.learning_rate=-1: must be greater than 0"),
        ("optimizer.learning_rate=1e999", "optimizer.learning_rate="),
        ("optimizer.name=sgdd", "optimizer.name='sgdd': must be 'sgd', 'lars',"),
        ("optimizer.betas=[0.9]", "optimizer.betas=[0.9]: give 2 values, such as 0.5,0.5"),
        ("optimizer.betas=0.9,x", "optimizer.betas.1='x': must be a valid number"),
        ("schedule.milestones=30,60", "schedule.milestones.0=30: must be less than 1"),
        ("resize.begin=0.1", "resize.first has no default: give it a value as well"),
        ("resize=128", "such as --config.resize.first=128"),
        ("data=digits", "such as --config.data.name=digits"),
        ("loss=bce", "such as --config.loss.name=bce"),
        ("loss.class_weights=even", "'even': must be balanced, or numbers or NAME:NUMBER, sep"),
        ("loss.class_weights=balance", "separated by commas. Did you mean 'balanced'?"),
        (
            "loss.class_weights=a:1,b:2,a:3",
            "loss.class_weights=a:1,b:2,a:3: 'a' stands in it twice",
        ),
        ("loss.class_weights=1,-2", "loss.class_weights.1=-2: must be greater than 0"),
        ("loss.class_weights=cat:no", "loss.class_weights.cat='no': must be a valid number"),
        ("finetune.step=0", "finetune.step=0: must be greater than 0"),
        ('ema={"dcay":1}', "ema has no field 'dcay'. Did you mean 'decay'?"),
        ("lr=1", "config has no field 'lr'. Did you mean 'optimizer.learning_rate'?"),
        ("optimizer.lr=1", "optimizer has no field 'lr'. Did you mean 'learning_rate'?"),
        ("schedule.momentm=1", "Did you mean 'optimizer.momentum'?"),
        ("data.image-size=1", "Did you mean 'image_size'?"),
        ("optimizer.zzz=1", "optimizer has no field 'zzz'. Its fields: betas, clip_norm"),
        ("loss.label_smoothing=1", "loss.label_smoothing=1: must be less than 1"),
        ("schedule.milestones=[0.7,0.5]", "schedule.milestones=(0.7, 0.5): must increase"),
        ("data.mean=[0.1,0.2]", "data.mean=(0.1, 0.2) has 2 numbers"),
        ("data.workers=-1", "data.workers=-1: must be greater than or equal to 0"),
        ("augment.flip=2", "augment.flip=2: must be less than or equal to 1"),
    ],
)
def test_override_errors_are_one_line_with_field_value_and_remedy(word, message):
    with pytest.raises(ConfigError) as caught:
        parse_overrides(TrainConfig(), [f"--config.{word}"])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fields_that_are_checked_together_come_in_any_order():
    words = ["data.mean=0.1,0.2,0.3", "data.std=(0.1, 0.2, 0.3)"]
    words += ["resize.begin=0.1", "resize.first=32"]
    changed = parse_overrides(TrainConfig(), [f"--config.{word}" for word in words])
    assert changed.data.std == (0.1, 0.2, 0.3)
    assert changed.resize == ResizeConfig(first=32, begin=0.1)


@pytest.mark.parametrize("field", recipe_fields(), ids=lambda field: field.path)
def test_every_default_can_be_written_as_messages_print_it(field):
    value = 32 if field.default is dataclasses.MISSING else field.default
    words = [f"--config.{field.path}={value}"]
    if field.path.startswith("resize."):  # it has no default
        words.append("--config.resize.first=32")
    changed = values_by_field(parse_overrides(TrainConfig(), words))
    assert changed[field.path] == value


@pytest.mark.parametrize("field", recipe_fields(), ids=lambda field: field.path)
def test_every_field_says_what_it_means_and_is_found_by_its_last_name(field):
    assert len(field.meaning) > 10
    assert field.path in resembling(field.path.rpartition(".")[2].replace("_", "-"))


def test_a_word_of_another_form_is_refused():
    with pytest.raises(ConfigError, match=r"'--config.seed' is not an override"):
        parse_overrides(TrainConfig(), ["--config.seed"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (TrainConfig(seed="0"), "seed='0': must be a valid integer"),
        (TrainConfig(batch_size=1.0), "batch_size=1.0: must be a valid integer"),
        (TrainConfig(ema=EmaConfig(decay=1.0)), "ema.decay=1.0: must be less than 1"),
    ],
)
def test_a_recipe_is_held_to_the_declared_types(config, message):
    with pytest.raises(ConfigError, match=message):
        validate(config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "config: Invalid JSON"),
        ("[]", r"config=\[\]: must be an object"),
        ('{"optimizer": {"rate": 1}}', "optimizer has no field 'rate'"),
        ('{"ema": {"dcay": 1}}', "ema has no field 'dcay'. Did you mean 'decay'"),
    ],
)
def test_json_errors_name_the_field(text, message):
    with pytest.raises(ConfigError, match=message):
        from_json(text)


def test_differing_fields_are_named_with_both_values():
    other = dataclasses.replace(TrainConfig(), seed=1, ema=EmaConfig())
    assert differing_fields(TrainConfig(), other) == [
        "ema.decay (None, not 0.999)",
        "ema.every (None, not 1)",
        "seed (0, not 1)",
    ]
