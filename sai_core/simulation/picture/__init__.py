"""The panorama of a simulated recording: ray casting, painted walls, people and things, video."""
