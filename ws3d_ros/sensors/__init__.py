"""Sensor data to frames and scans: decode, validate, pair in time, place in the world."""
