"""The driver of `make demo`: plays a drive to the real node and leaves what it answered.

rendered_drive.py renders the default drive, frame_player.py puts frames on the image topic,
results.py writes down what came out of it.
"""
