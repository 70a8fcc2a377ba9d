"""Recorded sequences as frames with ground truth."""
