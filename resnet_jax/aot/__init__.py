"""Recipes compiled ahead of time, for accelerators that this machine does not have."""
