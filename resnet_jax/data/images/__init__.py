"""One image at a time, in NumPy: decoding, orientation, size, and what a policy changes."""
