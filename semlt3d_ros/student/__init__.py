"""The camera-only student: images and calibration in, 3D boxes with class confidences out. Knows core and torch."""
