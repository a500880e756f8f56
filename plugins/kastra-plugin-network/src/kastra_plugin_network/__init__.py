"""Kind Network."""
