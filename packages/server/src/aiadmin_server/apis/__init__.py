"""One package for each API: its own words, its translation to core's specs and back, its envelope."""
