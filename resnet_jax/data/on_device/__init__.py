"""Batches on the accelerator, in JAX: augmentation, mixing, datasets that live there."""
