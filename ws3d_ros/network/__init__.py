"""The sparse 3D network that reads the map: engine, U-Net, heads, checkpoints."""
