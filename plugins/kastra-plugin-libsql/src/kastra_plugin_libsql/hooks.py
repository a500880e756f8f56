"""Hook implementations of kastra-plugin-libsql."""
