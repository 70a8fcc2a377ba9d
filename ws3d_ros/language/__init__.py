"""Words and images to vectors of one space."""
