"""The Kastra plugin {{ cookiecutter.plugin_name }}: ``hooks`` says what it offers."""
