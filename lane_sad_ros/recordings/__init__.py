"""Frames and messages out of recordings, and recordings written, without ROS."""
