import json
import math
import os

import pytest

from resnet_jax.plain_json import json_text


def strictly(text):
    """Reads JSON as programs do that are not Python: NaN is an error."""

    def refuse(constant):
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("indent", [None, 2])
def test_infinity_and_nan_become_null_at_every_depth(indent):
    value = {"a": math.nan, "b": [1.5, -math.inf, {"c": (math.inf, 2)}], "d": True, "e": None}
    expected = {"a": None, "b": [1.5, None, {"c": [None, 2]}], "d": True, "e": None}
    assert strictly(json_text(value, indent=indent)) == expected


@pytest.mark.parametrize("name", [b"cat.png", "\u732b.png".encode(), b"\xff.png", b"a\xe9\n\x00b"])
def test_every_name_of_a_file_comes_back_from_ascii(name):
    text = json_text({"file": os.fsdecode(name)})
    assert text.isascii()
    assert os.fsencode(strictly(text)["file"]) == name
