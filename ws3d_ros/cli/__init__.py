"""The ws3d command. The only room that prints."""
