"""What cameras suffer on the road, as functions of images: for tests of robustness, and for training against it."""
