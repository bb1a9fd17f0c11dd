"""What is sent to the autopilot, and what the pilot is told."""
