"""The LiDAR teacher: pillars of points, a bird's-eye-view trunk, centre heads, classes of points."""
