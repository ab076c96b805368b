"""`hushcast denoise`: takes the noise out of sound files."""
