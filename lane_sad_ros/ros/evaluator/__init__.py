"""The node that plays a bag to a detector and scores what it answers."""
