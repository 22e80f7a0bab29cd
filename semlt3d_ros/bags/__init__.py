"""Recordings on disk: rosbag2, in mcap and sqlite3."""
