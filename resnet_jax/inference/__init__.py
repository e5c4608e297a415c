"""Uses of a trained network: evaluate, predict, explain, export."""
