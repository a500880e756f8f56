"""Kastra store on an embedded LibSQL/SQLite database file. ``store.open_store`` opens one."""
