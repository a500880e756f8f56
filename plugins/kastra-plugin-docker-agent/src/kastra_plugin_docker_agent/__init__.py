"""Reads the YAML files of docker-agent (cagent) for ``kastra migrate``."""
