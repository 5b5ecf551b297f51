"""The ROS 2 side: nodes, their parameters and the conversions between messages and arrays."""
