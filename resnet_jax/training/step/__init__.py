"""The pure functions that one step is made of, and the state that they pass on."""
