"""HTML pages that show scores."""
