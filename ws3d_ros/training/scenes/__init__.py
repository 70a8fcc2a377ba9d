"""Procedural furnished rooms with exact ground truth."""
