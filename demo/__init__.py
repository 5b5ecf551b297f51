"""The driver of `make demo`: plays a drive to the real node and leaves what it answered.

player.py puts frames on the image topic, node.py holds the node's process, drive.py renders the
default drive, report.py writes down what came out of it.
"""
