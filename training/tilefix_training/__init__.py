"""Self-supervised training of the matching model, from drone and satellite images that nobody paired."""
