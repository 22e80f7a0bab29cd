"""The vocabulary every room shares: classes, boxes, frames, detections, cameras, rigid transforms. NumPy only."""
