"""Field lines of the ``autoware_perception_msgs`` types that are spoken here, for machines without ROS.

They are the wire format and its numbers only; each type comes after the types it contains.
"""

AUTOWARE_DEFINITIONS: dict[str, str] = {
    "autoware_perception_msgs/msg/ObjectClassification": (
        "uint8 UNKNOWN=0\nuint8 CAR=1\nuint8 TRUCK=2\nuint8 BUS=3\nuint8 TRAILER=4\nuint8 MOTORCYCLE=5\n"
        "uint8 BICYCLE=6\nuint8 PEDESTRIAN=7\nuint8 ANIMAL=8\nuint8 HAZARD=9\nuint8 OVER_DRIVABLE=10\n"
        "uint8 UNDER_DRIVABLE=11\nuint8 label\nfloat32 probability\n"
    ),
    "autoware_perception_msgs/msg/Shape": (
        "uint8 BOUNDING_BOX=0\nuint8 CYLINDER=1\nuint8 POLYGON=2\nuint8 type\ngeometry_msgs/Polygon footprint\n"
        "geometry_msgs/Vector3 dimensions\n"
    ),
    "autoware_perception_msgs/msg/DetectedObjectKinematics": (
        "uint8 UNAVAILABLE=0\nuint8 SIGN_UNKNOWN=1\nuint8 AVAILABLE=2\n"
        "geometry_msgs/PoseWithCovariance pose_with_covariance\nbool has_position_covariance\n"
        "uint8 orientation_availability\ngeometry_msgs/TwistWithCovariance twist_with_covariance\nbool has_twist\n"
        "bool has_twist_covariance\n"
    ),
    "autoware_perception_msgs/msg/DetectedObject": (
        "float32 existence_probability\nautoware_perception_msgs/ObjectClassification[] classification\n"
        "autoware_perception_msgs/DetectedObjectKinematics kinematics\nautoware_perception_msgs/Shape shape\n"
    ),
    "autoware_perception_msgs/msg/DetectedObjects": (
        "std_msgs/Header header\nautoware_perception_msgs/DetectedObject[] objects\n"
    ),
}
