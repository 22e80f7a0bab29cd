"""A small simulated world with LT3D's 18 classes: streets, actors, six cameras and a LiDAR, by ray casting."""
