"""The study: measures each claim of the notes about residual networks.

`resnet-jax study` trains plain and residual networks, and writes figures, numbers and a page about
them; `resnet_jax.study.plan` says what is trained.
"""
