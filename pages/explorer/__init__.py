"""Explorer: recordings with their labels and predictions."""
