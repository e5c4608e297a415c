"""Trains a network: `python train.py --config=configs/digits.py --workdir=runs/digits`."""

from resnet_jax.cli import train

train()
