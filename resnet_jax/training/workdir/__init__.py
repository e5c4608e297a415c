"""The files in the folder of a run, and how they are written and read."""
