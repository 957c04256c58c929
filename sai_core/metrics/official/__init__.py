"""The rules of the official evaluators, map by map: rendering, pairing, average precision; what was published."""
