"""The study: what the notes claim of residual networks, each claim measured.

`resnet-jax study` trains plain and residual networks and writes figures, numbers and a
page about them; see `resnet_jax.study.plan` for what is trained.
"""
