"""Trains a network: `python train.py --config=configs/digits.py --workdir=runs/digits`."""

from resnet_jax.cli import train

if __name__ == "__main__":  # data workers, which are spawned, import this file again
    train()
