"""The node that finds lanes in camera topics."""
