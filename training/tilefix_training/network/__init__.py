"""The network: its layers, its state on disk, its descriptors, and its export."""
