"""Training: configuration, pure steps, and the one loop that has side effects."""
