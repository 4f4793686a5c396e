"""Public checkpoints: one file a family, with its configs and its table of names, in and out."""
