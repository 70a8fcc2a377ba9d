"""Engines that convolve, side by side behind one protocol; ``choose.py`` picks one."""
