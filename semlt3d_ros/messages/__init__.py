"""ROS messages to core types and back, once for every source: rosbags' classes and rclpy's are treated alike."""
