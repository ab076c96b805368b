"""`hushcast denoise`: removes noise from sound files."""
