"""Labelled voxels to objects."""
