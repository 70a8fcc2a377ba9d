"""Frames and scans to a chunked voxel map and immutable windows of it."""
