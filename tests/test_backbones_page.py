"""Each section of the page about backbones runs on its own, and does what it is there for."""

import pathlib
import types

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx

from resnet_jax import create_model, load

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "backbones.md"


def sections():
    """Maps the heads of the page to their lines of Python, as (number, line)."""
    code, head, language = {}, "", None
    for number, line in enumerate(PAGE.read_text().splitlines()):
        if line.startswith("```"):
            language = None if language is not None else line.removeprefix("```")
        elif language == "python":
            code.setdefault(head, []).append((number, line))
        elif language is None and line.startswith("#"):
            head = line.lstrip("# ")
    return code


SECTIONS = sections()
TITLE = next(iter(SECTIONS))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the page's first lines and those of one section; an error names the page's lines."""
    monkeypatch.chdir(tmp_path)

    def run_section(head):
        lines = dict(SECTIONS[TITLE] + SECTIONS[head])
        text = "\n".join(lines.get(number, "") for number in range(max(lines) + 1))
        names = {"__name__": "page"}
        exec(compile(text, str(PAGE), "exec"), names)  # noqa: S102
        return types.SimpleNamespace(**names)

    return run_section


def arrays(node, kind=nnx.Param):
    return jax.tree.leaves(nnx.state(node, kind))


def equal(node, other, kind=nnx.Param):
    """Says of each array whether both have the same."""
    pairs = zip(arrays(node, kind), arrays(other, kind), strict=True)
    return [bool(jnp.array_equal(*pair)) for pair in pairs]


def trained_file(page):
    """Returns the network in the page's file."""
    return load(page.PRETRAINED)


def learned(page):
    first, *_, last = map(jnp.asarray, page.losses)
    assert (last < first).all()


def pooled_features(page):
    assert page.pooled.shape == (4, page.model.num_features)
    chex.assert_trees_all_close(jnp.diag(page.similarity), jnp.ones(4), rtol=1e-5)  # unit vectors
    chex.assert_trees_all_close(
        page.model.head(page.pooled), page.predict(page.model, page.images), rtol=1e-4
    )


def without_a_classifier(page):
    assert page.pooled.shape == (4, page.encoder.num_features)
    chex.assert_trees_all_close(page.pooled, page.last_map.mean((1, 2)), rtol=1e-4)


def new_head(page):
    assert page.logits.shape == (4, 2)
    assert all(equal(page.model.stages, trained_file(page).stages))
    assert isinstance(page.model.head, page.Head)


def frozen_stages(page):
    learned(page)
    old, new = trained_file(page), page.model
    for kind in (nnx.Param, nnx.BatchStat):
        assert all(equal(old.stem, new.stem, kind))
        assert all(equal(old.stages[0], new.stages[0], kind))
        assert not any(equal(old.stages[1], new.stages[1], kind))


def backbone(page):
    learned(page)
    assert not any(equal(trained_file(page).stages, page.detector.backbone.stages))


def unet(page):
    assert page.pixel_logits.shape == (4, 32, 32, 2)


def pyramid(page):
    assert [level.shape for level in page.levels] == [(4, size, size, 32) for size in (32, 16, 8)]


def momentum(page):
    learned(page)
    assert not any(equal(page.target, page.online))  # the target is on its way
    start = create_model(page.NAME, num_classes=0)
    chex.assert_trees_all_close(
        nnx.state(page.target.layers[0], nnx.Param), nnx.state(start, nnx.Param), atol=1e-4
    )


def ensemble(page):
    learned(page)
    chex.assert_trees_all_close(page.probabilities.sum(-1), jnp.ones(4), rtol=1e-5)
    kernels = page.models.head.kernel[...]
    assert not jnp.allclose(kernels[0], kernels[1])


def single_examples(page):
    """Their mean is the gradient of the batch's mean loss."""

    def loss_fn(params):
        network = nnx.merge(page.structure, params, page.stats)
        return page.cross_entropy(network(page.images), page.labels)

    mean = jax.tree.map(lambda leaf: leaf.mean(0), page.gradients)
    chex.assert_trees_all_close(mean, jax.jit(jax.grad(loss_fn))(page.params), rtol=1e-3, atol=1e-5)
    assert optax.tree.norm(page.clipped) <= 1


def equinox(page):
    learned(page)
    assert not any(equal(page.model, trained_file(page), nnx.BatchStat))


def linen(page):
    learned(page)
    assert page.logits.shape == (4, 2)


def files(page):
    for kind in (nnx.Param, nnx.BatchStat):
        assert all(equal(page.model.stages, page.backbone.stages, kind))
    assert page.model.num_classes == 2


def orbax(page):
    for kind in (nnx.Param, nnx.BatchStat):
        assert all(equal(page.restored, page.model, kind))


CHECKS = {
    "Pooled features": pooled_features,
    "A network without a classifier": without_a_classifier,
    "A new head": new_head,
    "Frozen stages with frozen statistics": frozen_stages,
    "A backbone in an NNX module": backbone,
    "U-Net": unet,
    "Feature pyramid": pyramid,
    "Distillation": learned,
    "Momentum encoder": momentum,
    "Ensemble": ensemble,
    "Gradients of single examples": single_examples,
    "Equinox style (plain pytrees)": equinox,
    "Pure functions": learned,
    "In a Linen project": linen,
    "Files": files,
    "Orbax without a target": orbax,
}


def test_every_section_with_code_is_checked():
    assert [TITLE, *CHECKS] == list(SECTIONS)


@pytest.mark.parametrize("head", CHECKS)
def test_the_section(head, run):
    CHECKS[head](run(head))
