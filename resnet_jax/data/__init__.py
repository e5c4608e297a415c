"""Data: sources, pipelines and augmentation. Importing this package imports no TFDS."""
