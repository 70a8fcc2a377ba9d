"""The 3D network learns while the robot drives, and forgets nothing for it."""
