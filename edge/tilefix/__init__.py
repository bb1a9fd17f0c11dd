"""Position fixes without GNSS, from a downward camera and satellite tiles loaded before take-off."""

__version__ = "0.1.0"
