"""Lane detection with ENet-SAD for ROS 2 and for plain Python."""

__version__ = "0.1.0"
