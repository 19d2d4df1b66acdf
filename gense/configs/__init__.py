"""Methods and trainings as YAML files, installed with the package."""
