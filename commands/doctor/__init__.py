"""`hushcast doctor`: checks what hushcast needs, and says how to fix what is missing."""
