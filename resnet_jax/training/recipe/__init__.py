"""The settings of a run as typed values: fields, overrides, recipe files."""
