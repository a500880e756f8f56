"""Kind System: what makes up one application, as one resource."""
