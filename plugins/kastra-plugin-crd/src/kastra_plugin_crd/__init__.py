"""The Kastra kind CustomResourceDefinition: kinds that are defined by YAML while the runtime lives."""
