"""`hushcast doctor`: what hushcast needs, checked, with what to do where it is missing."""
