"""Training of the detectors: data, augmentation, sampler, learning strategy, run folder."""
