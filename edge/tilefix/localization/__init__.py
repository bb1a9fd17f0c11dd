"""Where a frame was taken: the pure decision, from rectified patch to belief."""
