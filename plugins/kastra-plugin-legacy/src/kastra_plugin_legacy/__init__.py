"""Migration of the older Kastra formats; see :class:`kastra_plugin_legacy.migrator.LegacyMigrator`."""
