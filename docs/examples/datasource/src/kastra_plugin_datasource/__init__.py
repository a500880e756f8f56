"""A controller for the kind DataSource of ``datasources.yaml``: is the source there, and what is in it?"""
