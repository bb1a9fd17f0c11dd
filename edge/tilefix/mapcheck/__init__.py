"""Where fixes will be hard: what a map package can tell of itself before anyone flies on it."""
