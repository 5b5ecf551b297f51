"""Pictures for people: overlays, comparisons with the truth, the road from above."""
