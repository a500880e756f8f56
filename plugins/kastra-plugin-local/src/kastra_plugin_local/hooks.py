"""Hook implementations of kastra-plugin-local."""
