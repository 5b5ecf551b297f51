"""From the lanes of single images to the road: lanes over time, on the ground, the ego lane."""
