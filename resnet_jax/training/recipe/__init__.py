"""Everything that decides a run, as typed values: fields, overrides, recipe files."""
