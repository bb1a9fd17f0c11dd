"""When vision takes over from GNSS and hands back: scoring, spoofing, the receiver's condition, and the states."""
