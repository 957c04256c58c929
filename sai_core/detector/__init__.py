"""Detection networks on the 360 x 180 canvas; no files, no settings of the app."""
