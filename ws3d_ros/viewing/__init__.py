"""Maps for people's eyes: what is drawn in which colour, and the viewer in a browser."""
