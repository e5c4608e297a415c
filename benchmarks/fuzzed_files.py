"""Weights files of five kinds, most of them damaged or dishonest; each from a number and a seed."""

from __future__ import annotations

import io
import json
import pathlib
import random
import zipfile
from typing import Any

from benchmarks.fuzzed_pickles import Program
from resnet_jax import ResNetConfig

KINDS = ("zip", "legacy", "pickle", "safetensors", "own")
CONFIG = ResNetConfig(depths=(1, 1), widths=(4, 8), stem="cifar", stem_features=4, num_classes=3)
_SIZES = (0, 1, 2, 3, 7, 16, 255, 2**16, 2**31 - 1, 2**31, 2**32, 2**62, 2**63, 2**64, 10**400)
_ODD: tuple[Any, ...] = (
    *_SIZES,
    *(-size for size in _SIZES[1:]),
    *(
        0.5,
        -0.0,
        1e-320,
        1e308,
        float("nan"),
        float("inf"),
        None,
        True,
        "",
        "x",
        "nan",
        "\n\x1b[2J",
    ),
    *([], {}, [1] * 1000, "y" * 10**5, [[]], {"a": {"b": 1}}),
)
_DTYPES: tuple[str, ...] = (
    "F64",
    "F32",
    "F16",
    "BF16",
    "I64",
    "I32",
    "I8",
    "U8",
    "U64",
    "BOOL",
)
_DTYPES += ("F8_E4M3", "F8_E5M2", "F8_E8M0", "F6_E2M3", "F6_E3M2", "F4", "F128", "")


def make_bases(folder: pathlib.Path) -> None:
    """Writes the honest files that the others are made of; needs PyTorch."""
    import numpy as np
    import safetensors.torch
    import torch
    from flax import nnx

    from resnet_jax import Backbone, ResNet, save, to_torch

    bases = folder / "bases"
    bases.mkdir()
    model = ResNet(CONFIG, rngs=nnx.Rngs(0))
    weights = {key: torch.from_numpy(np.array(array)) for key, array in to_torch(model).items()}
    shared = torch.arange(12.0)
    more = {
        "half": torch.arange(4.0).half(),
        "views": [shared[2:], shared.reshape(3, 4).T, shared[::5]],
        "negated": torch._neg_view(torch.arange(3.0)),
        "conjugated": torch.tensor([1 + 2j, 3j]).conj(),
        "small": torch.arange(5).to(torch.uint8),
        "epoch": 3,
        "accuracy": {"top1": 0.5, "best": (1, 2.5, None, True)},
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    saved = {"plain": weights, "training": {"state_dict": weights, **more}}
    for name, content in saved.items():
        for kind, as_zip in (("zip", True), ("legacy", False)):
            file = bases / f"{kind}_{name}"
            torch.save(content, file, _use_new_zipfile_serialization=as_zip)
    safetensors.torch.save_file(weights, bases / "safetensors_plain")
    half = {key: value.bfloat16() for key, value in weights.items() if value.ndim}
    safetensors.torch.save_file(half, bases / "safetensors_half")
    names, inputs = ["a", "b", "c"], {"size": 8, "mean": [0.5], "std": [0.5]}
    save(model, folder / "own.safetensors", class_names=names, preprocessing=inputs)
    (folder / "own.safetensors").rename(bases / "own_network")
    save(Backbone(model, out_indices=(0, 1)), folder / "own.safetensors")
    (folder / "own.safetensors").rename(bases / "own_backbone")


def make(
    folder: pathlib.Path, bases: dict[str, bytes], number: int, seed: int
) -> tuple[pathlib.Path, str]:
    """Writes the file of a number.

    Returns:
        The file, and its kind.
    """
    kind = KINDS[number % len(KINDS)]
    chance = random.Random(f"{seed}/{number}")
    names = sorted(name for name in bases if name.startswith(kind))
    base = bases[chance.choice(names)] if names else b""
    if kind == "pickle":
        content = zipped(Program(chance).entries(), chance)
    elif kind == "zip" and chance.random() < 0.6:
        content = zipped(changed_entries(base, chance), chance)
    elif kind in ("safetensors", "own") and chance.random() < 0.8:
        content = changed_header(base, chance, own=kind == "own")
    else:
        content = damaged(base, chance)
    suffix = ".pth" if kind in ("zip", "legacy", "pickle") else ".safetensors"
    path = folder / f"{number}{suffix}"
    path.write_bytes(content)
    return path, kind


def damaged(content: bytes, chance: random.Random, most: int = 6) -> bytes:
    """Changes, removes or doubles a few bytes, rather near the start."""
    changed = bytearray(content)
    for _ in range(chance.randrange(most)):
        if not changed:
            break
        place = min(chance.randrange(len(changed)), chance.randrange(len(changed)))
        how = chance.randrange(6)
        if how < 3:
            changed[place] = chance.randrange(256)
        elif how == 3:
            changed[place] = (changed[place] + chance.choice((-1, 1))) % 256
        elif how == 4:
            del changed[place : place + chance.randrange(9)]
        else:
            changed[place:place] = changed[place : place + chance.randrange(9)]
    if chance.random() < 0.1:
        del changed[chance.randrange(len(changed) + 1) :]
    return bytes(changed)


def changed_entries(content: bytes, chance: random.Random) -> list[tuple[str, bytes]]:
    """Changes entries of an archive, whose checksums fit the changed ones."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    for _ in range(chance.randrange(3)):
        place = chance.randrange(len(entries))
        if chance.random() < 0.6:
            pickles = [n for n, (name, _) in enumerate(entries) if name.endswith("data.pkl")]
            place = pickles[0] if pickles else place
        name, held = entries[place]
        how = chance.randrange(8)
        if how < 5:
            entries[place] = (name, damaged(held, chance))
        elif how == 5:
            del entries[place]
        elif how == 6:
            entries.append((chance.choice((name, name.upper())), held))
        else:
            entries[place] = (name, held[: len(held) // 2] + bytes(chance.randrange(9)))
    return entries


def zipped(entries: list[tuple[str, bytes]], chance: random.Random) -> bytes:
    """Writes entries as an archive, now and then a compressed one."""
    method = zipfile.ZIP_DEFLATED if chance.random() < 0.05 else zipfile.ZIP_STORED
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def changed_header(content: bytes, chance: random.Random, *, own: bool) -> bytes:
    """Changes the header of a safetensors file, or the metadata of one in our own format."""
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    for _ in range(1 + chance.randrange(2)):
        if "__metadata__" in header and own and chance.random() < 0.8:
            change_metadata(header["__metadata__"], chance)
        else:
            change_array(header, chance)
    text = json.dumps(header).encode()
    if chance.random() < 0.1:
        text = damaged(text, chance)
    return len(text).to_bytes(8, "little") + text + data


def change_metadata(metadata: dict[str, str], chance: random.Random) -> None:
    """Puts an odd value into a field of the metadata or of the values in it."""
    name = chance.choice([*sorted(metadata), "config", "config", "preprocessing"])
    if chance.random() < 0.1 or name.startswith("format"):
        metadata[name] = json.dumps(chance.choice(_ODD))
        return
    values = json.loads(metadata.get(name, "{}"))
    place: Any = values
    while isinstance(place, dict | list) and place:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = chance.choice(keys)
        if not isinstance(place[key], dict | list) or chance.random() < 0.4:
            place[key] = chance.choice(_ODD)
            break
        place = place[key]
    metadata[name] = json.dumps(values)


def change_array(header: dict[str, Any], chance: random.Random) -> None:
    """Gives an array another dtype, shape, place or name."""
    name = chance.choice(sorted(header))
    held = header[name]
    how = chance.randrange(5)
    if how == 0 or not isinstance(held, dict) or "shape" not in held:
        header[chance.choice(("x", name + "x", name * 1000, "\x1b[2J", ""))] = header.pop(name)
    elif how == 1:
        held["dtype"] = chance.choice(_DTYPES)
    elif how == 2:
        held["shape"] = [chance.choice(_SIZES) for _ in range(chance.choice((0, 1, 2, 4, 70)))]
    elif how == 3:
        held["shape"] = [1] * chance.choice((1, 70)) + held["shape"]
    else:
        held["data_offsets"] = [chance.choice(_SIZES), chance.choice(_SIZES)]
