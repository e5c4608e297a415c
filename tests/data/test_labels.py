import pytest

from resnet_jax.data.labels import alike_notes, match_labels, name_differences
from resnet_jax.errors import ConfigError


@pytest.mark.parametrize(
    ("labels", "outputs", "expected"),
    [
        (["cat", "dog"], ["dog", "cat", "fox"], [1, 0]),
        (["Dog", "cat", "fox"], ["cat", "dog", "fox"], [1, 0, 2]),
        (["Golden_Retriever", "tabby cat"], ["tabby-cat", "golden retriever"], [1, 0]),
        (["cat", "Cat"], ["Cat", "cat"], [1, 0]),  # exact names come first
        (["cafe\u0301"], ["caf\u00e9", "tea"], [0]),  # an accent of its own, as on a Mac
    ],
)
def test_labels_find_their_outputs_by_name(labels, outputs, expected):
    assert match_labels(labels, outputs, dataset="pets", network="net").tolist() == expected


@pytest.mark.parametrize(
    ("labels", "outputs", "message"),
    [
        (["cat", "dgo"], ["cat", "dog"], "net has no class 'dgo' of pets. Did you mean 'dog'?"),
        (["CAT"], ["cat", "Cat"], "net has no class 'CAT' of pets"),  # two could be meant
        (["cat", "CAT"], ["cAt", "dog"], "net has no class 'cat', 'CAT' of pets"),
    ],
)
def test_what_does_not_match_is_named(labels, outputs, message):
    with pytest.raises(ConfigError) as caught:
        match_labels(labels, outputs, dataset="pets", network="net")
    assert message in str(caught.value)


def test_differences_are_told_in_words():
    assert name_differences("ab", "ab") is None
    assert name_differences("ab", "ba").startswith("the classes are in another order")
    assert name_differences(["dog"], ["cat"]) == (
        "the dataset no longer has 'dog' and has 'cat' as new"
    )


def test_classes_that_may_be_one_are_named():
    assert alike_notes(["cat", "dog", "dog 2"]) == ()
    (note,) = alike_notes(["Cat", "big_dog", "cat", "big-dog", "big dog", "emu"])
    assert note == (
        "classes that differ only in case, spaces, _ or -: 'Cat' and 'cat', 'big_dog' and "
        "'big-dog' and 'big dog'; give them one name if they are one class"
    )
