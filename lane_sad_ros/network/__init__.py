"""The lane networks and their weights files."""
