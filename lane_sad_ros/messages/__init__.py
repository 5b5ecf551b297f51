"""ROS messages made and read, the same for a node and for a bag without ROS."""
