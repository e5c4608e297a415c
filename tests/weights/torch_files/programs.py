"""Pickles written instruction by instruction, and archives around them."""

import zipfile


def archive(folder, pickled, data=bytes(8)):
    """Writes an archive of torch.save around a pickle, with one storage, "0"."""
    file = folder / "made.pth"
    with zipfile.ZipFile(file, "w") as written:
        written.writestr("archive/data.pkl", pickled)
        written.writestr("archive/data/0", data)
        written.writestr("archive/version", "3\n")
    return file


def text(value):
    content = value.encode()
    return b"X" + len(content).to_bytes(4, "little") + content


def number(value):
    content = value.to_bytes(9, "little", signed=True)
    return b"\x8a\x09" + content


def numbers(values):
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(size, kind="FloatStorage", key="0"):
    """A storage of as many numbers."""
    parts = (text("storage"), f"ctorch\n{kind}\n".encode(), text(key), text("cpu"), number(size))
    return b"(" + b"".join(parts) + b"tQ"


def tensor(size, shape, strides, offset=0, end=b"\x89N"):
    """A tensor of a storage of so many numbers."""
    places = number(offset) + numbers(shape) + numbers(strides)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(size) + places + end + b"tR"


def entry(value, key="t"):
    """A pickle of a dictionary of one entry."""
    return b"\x80\x02}" + text(key) + value + b"s."
