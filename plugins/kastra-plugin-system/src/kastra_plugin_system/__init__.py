"""Kind System."""
