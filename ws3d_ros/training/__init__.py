"""Scenes, data sets and (later) learning."""
