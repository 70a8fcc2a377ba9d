"""How good a labelled map is."""
