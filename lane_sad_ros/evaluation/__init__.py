"""The official metrics of the lane datasets."""
