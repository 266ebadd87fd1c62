"""The predict stage: the network on a batch of targets."""
