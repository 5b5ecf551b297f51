"""Lane detection with ENet-SAD for ROS 2 and for plain Python."""

from pkgutil import extend_path

__version__ = "0.1.0"

# The generated messages (lane_sad_ros.msg) lie in the installed tree, which may be another folder
# than the one that these modules are imported from.
__path__ = extend_path(__path__, __name__)
