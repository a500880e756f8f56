"""Kastra store on an embedded LibSQL/SQLite database file."""
