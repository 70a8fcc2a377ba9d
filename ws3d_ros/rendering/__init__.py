"""Views of the map: one z-buffered splat."""
