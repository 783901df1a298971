"""Results in the formats of other programs, one file a format; `report/export.py` has their table."""
