"""Map packages: their manifest, imagery, terrain and tile index, read and checked."""
