"""Frames and detections made visible: in the rerun viewer (live, from bags, as a recording) and as plain pictures."""

from semlt3d_ros.viewing.bags import view_bags

__all__ = ["view_bags"]
