"""Random changes of one image on the host: policies, and the operations that they draw."""
