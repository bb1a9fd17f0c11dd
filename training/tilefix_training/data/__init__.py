"""What a network is trained on: pictures, the patches cut from them, how they vary, and which go into a batch."""
