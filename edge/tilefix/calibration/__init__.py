"""What operators get wrong about camera and map, estimated from a flight whose positions are known."""
