"""A small simulated world with the 18 long-tail classes: streets, actors, six cameras and a LiDAR, by ray casting."""
