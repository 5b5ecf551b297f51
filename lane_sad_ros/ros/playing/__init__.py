"""A drive played to a running detector, and its answers gathered."""
