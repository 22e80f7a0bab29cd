"""Published detectors, computed as their authors' code computes them, so that their weights can be loaded.

Plain torch, tensors in and tensors out. Names of parameters are those of the original checkpoints.
"""
