"""Image features onto voxels, and voxel features to labels."""
