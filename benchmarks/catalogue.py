"""What does each network cost? Writes the table that `resnet-jax models` prints.

    python -m benchmarks.catalogue

After a change to the table of networks: it counts parameters and multiply-adds again, which takes
half a minute, and writes `resnet_jax/zoo/catalogue.csv`.
"""

from __future__ import annotations

import csv
import io

from resnet_jax.whole_files import write_text
from resnet_jax.zoo.catalogue import PATH, StoredCost
from resnet_jax.zoo.costs import cost, native_size
from resnet_jax.zoo.rows import TABLE


def counted(name: str) -> StoredCost:
    """Counts what a network costs at the size that it is used with."""
    size = native_size(name, TABLE[name])
    return StoredCost(*cost(TABLE[name], size), size)


def main() -> None:
    """Writes the table."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", *StoredCost._fields))
    writer.writerows((name, *counted(name)) for name in TABLE)
    write_text(PATH, text.getvalue())


if __name__ == "__main__":
    main()
