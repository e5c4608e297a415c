"""The pure functions that make up a step, and the state that they pass on."""
