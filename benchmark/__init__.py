"""Measurements that can be run again: `python -m benchmark.stability`."""
