"""`python -m resnet_jax`: the command `resnet-jax`, where it is not on the search path."""

from resnet_jax.cli import main

if __name__ == "__main__":  # data workers, which are spawned, import this file again
    main()
