"""Recorded sequences and labelled clouds: data sets as people download them."""
