"""The best size for a budget, read off the runs without a law of loss: approaches 1 and 2 of Hoffmann et al. 2022."""
