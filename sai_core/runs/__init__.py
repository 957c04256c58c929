"""Training runs, whatever is trained: their folder, their life, how they are launched and watched."""
