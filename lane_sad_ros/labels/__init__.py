"""Labelled lanes as data sets have them."""
