"""Versions side by side, one in use: installed whole, switched at once, taken back when they do not serve."""
