"""What two or more pages share: the frame player, pickers, cached loading."""
