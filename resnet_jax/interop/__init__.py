"""Doors for code that uses no NNX: pure functions and Linen modules."""
