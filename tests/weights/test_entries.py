"""Checkpoints with several entries and wrappers' names: which weights are read, and who says so."""

import logging

import chex
import numpy as np
import pytest
from flax import nnx

from resnet_jax import BasicBlock
from resnet_jax.weights import WeightsError, load_pretrained, load_torch, to_torch
from resnet_jax.weights.entries import find_weights
from tests.weights.namings import values

A, B = ({"w": np.full(2, value, np.float32)} for value in (1, 2))
ACCURACY = {"top1": np.float32(0.9)}


@pytest.mark.parametrize(
    ("source", "note"),
    [
        ({"state_dict": A, "state_dict_ema": B}, "'state_dict_ema' (moving averages), not 's"),
        ({"model": A, "model_ema": B}, "'model_ema' (moving averages), not 'model'"),
        ({"model_ema": A, "state_dict_ema": B}, "'state_dict_ema' (moving averages), not 'model_"),
        ({"state_dict_ema": B}, "'state_dict_ema' (moving averages)"),
        ({"model": A, "state_dict": B}, "'state_dict', not 'model'"),
        ({"state_dict_ema": None, "state_dict": B}, None),
        ({"net": B, "acc": 0.9, "epoch": 3}, None),
        ({"weights": B}, None),
        ({"model_state_dict": B, "metrics": ACCURACY}, None),
        ({"model": "resnet20", "net": B}, None),
        ({"student": B, "optimizer": {"state": {0: A}}}, None),
        ({"state_dict": B, "critic": {"v": np.ones(2)}}, "'state_dict', not 'critic'"),
        ({"model": {"state_dict": A, "state_dict_ema": B}}, "'state_dict_ema' (moving averages)"),
    ],
)
def test_an_entry_is_chosen_as_timm_does_and_named(source, note, caplog):
    with caplog.at_level(logging.INFO, "resnet_jax.weights"):
        found = find_weights(source, "a.pth")
    np.testing.assert_array_equal(found["w"], B["w"])
    assert len(caplog.messages) == (note is not None)
    assert all(message.startswith("a.pth") for message in caplog.messages)
    assert all(f": read the entry {note}" in message for message in caplog.messages)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ({"net": A, "weights": B}, "net, weights"),
        ({"student": A, "teacher": B, "epoch": 3}, "student, teacher"),
        ({"state_dict": A, "swa": {f"module.{k}": v for k, v in B.items()}}, "state_dict, swa"),
        ({"state_dict_ema": A, "net": B}, "state_dict_ema, net"),
    ],
)
def test_a_choice_without_a_convention_is_refused(source, names):
    with pytest.raises(WeightsError) as caught:
        find_weights(source, "a.pth")
    assert str(caught.value).startswith(
        f"a.pth holds weights in 2 entries, and nothing says which to use: {names}. Pass the one "
        f"you want, such as checkpoint['{names.partition(',')[0]}']"
    )


@pytest.mark.parametrize(
    "prefix",
    ["net.", "backbone.", "module.module.", "net.backbone.", "model.net._orig_mod.module.model."],
)
def test_prefixes_of_wrappers_are_dropped(prefix):
    found = find_weights({f"{prefix}w": A["w"], f"{prefix}num_batches_tracked": np.int64(3)}, "a")
    assert found == {"w": A["w"]}


def test_timm_reads_the_same_entry(timm, torch, tmp_path, caplog):
    from timm.models import load_state_dict

    states = {name: {"w": torch.full((2,), i * 1.0)} for i, name in enumerate("abcd")}
    names = ["model", "state_dict", "model_ema", "state_dict_ema"]
    for first in range(len(names)):
        file = tmp_path / f"{first}.pth"
        saved = dict(zip(names[: first + 1], states.values(), strict=False))
        torch.save(saved, file)
        expected = load_state_dict(file)["w"].numpy()
        np.testing.assert_array_equal(find_weights(saved, "a.pth")["w"].numpy(), expected)


def test_averages_of_pytorch_are_read_once_and_by_file(torch, network, tmp_path, caplog):
    live, averaged = network(seed=1), network(seed=2)

    class Module(torch.nn.Module):
        """A module with the names of the network's layers."""

        def __init__(self, weights):
            super().__init__()
            for key, value in weights.items():
                *parents, leaf = key.split(".")
                place = self
                for parent in parents:
                    if not hasattr(place, parent):
                        place.add_module(parent, torch.nn.Module())
                    place = getattr(place, parent)
                place.register_buffer(leaf, torch.from_numpy(np.array(value)))

    average = torch.optim.swa_utils.AveragedModel(Module(to_torch(averaged))).state_dict()
    assert "n_averaged" in average
    file = tmp_path / "model_0.pth"
    torch.save({"model": Module(to_torch(live)).state_dict(), "model_ema": average}, file)
    target = network(seed=3)
    load_torch(target, file)
    chex.assert_trees_all_equal(values(target), values(averaged))
    with caplog.at_level(logging.INFO, "resnet_jax.weights"):
        model = load_pretrained(target.config, file)
    chex.assert_trees_all_equal(values(model), values(averaged))
    assert caplog.messages == [f"{file}: read the entry 'model_ema' (moving averages), not 'model'"]


def nested(level):
    """Three levels of a thousand names each for what lies below."""
    for _ in range(3):
        level = dict.fromkeys((f"k{number}" for number in range(1000)), level)
    return level


@pytest.mark.timeout(20)
def test_entries_that_share_what_they_hold_are_searched_once():
    with pytest.raises(WeightsError, match="holds weights in 1000 entries"):
        find_weights(nested({"w": np.ones(3)}), "a.pth")
    nothing = nested({f"n{number}": 0 for number in range(1000)})
    assert find_weights(nothing, "a.pth").keys() == nothing.keys()


def test_entries_that_hold_each_other_get_one_line():
    saved = {"w": np.ones(3)}
    saved["model"] = saved
    with pytest.raises(WeightsError, match="hold each other, without end"):
        find_weights(saved, "a.pth")


@pytest.mark.timeout(20)
def test_a_name_of_nothing_but_wrappers_is_one_name():
    with pytest.raises(WeightsError, match="belongs to another model") as caught:
        load_torch(BasicBlock(4, 4, rngs=nnx.Rngs(0)), {"module." * 100_000 + "w": np.ones(3)})
    assert len(str(caught.value)) < 500


def test_names_are_quoted_on_one_line_and_not_at_length():
    with pytest.raises(WeightsError) as caught:
        load_torch(BasicBlock(4, 4, rngs=nnx.Rngs(0)), {"a\n\x1b[2J" * 100: np.ones(3)})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
