"""Kastra migrators for agents that live on Kubernetes: manifests of kagent, ARK and KAOS become resources."""
