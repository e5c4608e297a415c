"""Runs whose folder lies in a bucket: a copy on this machine, kept equal to the bucket's.

A bucket has no append, no rename and no lock. So a run reads and writes a local copy of its folder,
as any other run does. `mirror` downloads the copy at the start and uploads what changed with each
checkpoint and at the end. The digest of a checkpoint is uploaded after all of its files: in a
bucket, a checkpoint without a digest does not exist. `lease` decides between processes that want
the same folder, and `parts` lets several processes write one checkpoint without a shared disk.
"""

from resnet_jax.training.workdir.remote.mirror import Mirror, opened
from resnet_jax.training.workdir.remote.parts import collect_part

__all__ = ["Mirror", "collect_part", "opened"]
