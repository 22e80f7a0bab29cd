"""Camera-only, long-tail 3D perception for ROS 2."""

from pkgutil import extend_path

# In a sourced colcon workspace the generated ``semlt3d_ros.msg`` lives in another folder than this source tree.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
