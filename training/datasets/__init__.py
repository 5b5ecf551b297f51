"""Labelled images for training, whatever layout they are stored in."""
