"""Label audio: STAIRS26 labels of 32-channel recordings."""
