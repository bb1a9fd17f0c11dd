"""The parts of DMNIL (arXiv 2502.11381): clustering, memories, losses; none knows where its pictures come from."""
