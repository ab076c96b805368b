"""The media path: per-stream actors, their peer connections, and the denoiser."""
