"""A checkpoint at work: frames in, detections out."""
