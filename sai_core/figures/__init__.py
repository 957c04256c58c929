"""What pictures are made of: energy maps of annotations, colour maps, and the player's binary blocks."""
