"""hushcast on several machines that the tests make of namespaces, with what breaks there."""
