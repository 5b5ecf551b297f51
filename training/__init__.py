"""Training of lane networks: scenes, data sets, objective."""
