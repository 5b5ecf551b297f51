"""Other people's file formats, read and written, for training and metrics alike."""
