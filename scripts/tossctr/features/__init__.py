"""The feature map: how it is fitted to train rows, and how it encodes rows as model inputs."""
